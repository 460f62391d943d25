"""The dashboard: a Streamlit page that shows every expert and steers the model live. `navigation.py` is where it begins."""
