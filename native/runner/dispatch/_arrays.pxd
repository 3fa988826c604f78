# What the loop asks of arrays, inline. Those that are not noexcept raise what Python code below them raises.
from cpython.object cimport PyObject, PyTypeObject
from cpython.ref cimport Py_INCREF
from libc.stdint cimport int64_t

cimport numpy as cnp

cdef extern from "numpy/arrayobject.h":
    PyTypeObject PyArray_Type
    # Steals a reference to `descr`.
    object PyArray_NewFromDescr(
        PyTypeObject *subtype, cnp.PyArray_Descr *descr, int nd, const cnp.npy_intp *dims, const cnp.npy_intp *strides,
        void *data, int flags, PyObject *maker,
    )

cdef inline bint is_counted(object result) noexcept:
    """Whether the length of a return is all there is to know: a list, a tuple, an array of any shape but none."""
    return isinstance(result, (list, tuple)) or (cnp.PyArray_Check(result) and cnp.PyArray_NDIM(result) > 0)


cdef inline bint is_copied(object result) noexcept:
    """Whether a return is one plain run of numbers in memory."""
    cdef int kind
    if not cnp.PyArray_CheckExact(result) or cnp.PyArray_NDIM(result) != 1:
        return False
    if not cnp.PyArray_IS_C_CONTIGUOUS(result) or cnp.PyArray_ISBYTESWAPPED(result):
        return False
    kind = cnp.PyArray_TYPE(result)
    if kind == cnp.NPY_LONGDOUBLE:
        return False
    return cnp.PyTypeNum_ISBOOL(kind) or cnp.PyTypeNum_ISINTEGER(kind) or cnp.PyTypeNum_ISFLOAT(kind)


cdef inline bint same_type(cnp.ndarray left, cnp.ndarray right) noexcept:
    cdef int one = cnp.PyArray_TYPE(left), other = cnp.PyArray_TYPE(right)
    return one == other or cnp.PyArray_EquivTypenums(one, other)


cdef inline int64_t output_size(object output, int64_t rows) except -1:
    """About how many bytes an output holds in memory."""
    if isinstance(output, bytes):
        return len(<bytes>output)
    size = getattr(output, "nbytes", None)
    # Without a size: pointers and small objects, as in a list.
    return size if type(size) is int else 64 * rows


cdef inline object view_rows(cnp.ndarray array, int64_t start, int64_t stop):
    cdef cnp.npy_intp dims[64]
    cdef int i, ndim = cnp.PyArray_NDIM(array)
    cdef cnp.PyArray_Descr *descr = cnp.PyArray_DESCR(array)
    cdef object view
    assert 0 <= start <= stop <= cnp.PyArray_DIM(array, 0), "rows outside their column"
    dims[0] = stop - start
    for i in range(1, ndim):
        dims[i] = cnp.PyArray_DIM(array, i)
    Py_INCREF(<object>descr)
    view = PyArray_NewFromDescr(
        &PyArray_Type, descr, ndim, dims, cnp.PyArray_STRIDES(array),
        <char *>cnp.PyArray_DATA(array) + start * cnp.PyArray_STRIDE(array, 0),
        cnp.PyArray_FLAGS(array) & cnp.NPY_ARRAY_WRITEABLE, NULL,
    )
    cnp.set_array_base(view, array)
    return view
