"""The layer that this session looks at, kept in the view and so in the URL."""

from collections.abc import Sequence

import streamlit as st

from .view import choose


def current_layer(layers: Sequence[int]) -> int:
    """The view's layer where it is one of `layers`, else the first."""
    asked = str(st.session_state.view.get("layer"))
    return int(asked) if asked in map(str, layers) else layers[0]


def layer_box(layers: Sequence[int], key: str, shown: int) -> int:
    """A list to choose the layer from; `shown` is the one on the page now."""
    st.session_state[key] = shown
    return st.selectbox("Layer", layers, key=key, on_change=chosen_layer, args=(key,))


def layer_slider(layers: Sequence[int], key: str) -> int:
    """A slider over the layers; nothing to slide where there is one."""
    st.session_state[key] = current_layer(layers)
    if len(layers) == 1:
        return layers[0]
    return st.select_slider("Layer", layers, key=key, on_change=chosen_layer, args=(key,))


def look_at(layer: int) -> None:
    """Another layer."""
    choose(layer=str(layer))


def chosen_layer(key: str) -> None:
    look_at(int(st.session_state[key]))
