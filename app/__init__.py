"""The faces: the `workbench` command line, the demo report and the page. The only package that imports streamlit."""
