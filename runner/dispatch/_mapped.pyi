# Nothing here is for Python: the other native modules call its C functions.
__pyx_capi__: dict[str, object]
