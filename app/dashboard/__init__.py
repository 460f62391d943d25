"""`workbench app`: a Streamlit page that shows every expert, and switches them while the model answers.

In reading order: navigation (where a page begins), session/ (what is served and looked at), widgets/ (what pages are drawn
with), questions/ (what can be asked of a store), then a folder for each page: steer/, atlas/, texts/, rankings/,
super_experts/, captures/. The page's script takes `run` from navigation.
"""
