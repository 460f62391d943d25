"""The faces: the `workbench` command line, the demo report and the page. The only package that imports streamlit."""

import workbench as workbench  # whoever imports an old place of a module below hears the new one
