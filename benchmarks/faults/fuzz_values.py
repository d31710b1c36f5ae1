"""Hostile values for `fuzz.py`, as Python text, by kind.

The text is evaluated in the namespace of `fuzz_world.World`: X are good examples `[24, 4]`, Y their labels 0..2.
"""

from hypothesis import strategies as st

INTEGERS = st.integers(-3, 40)
FLOATS = st.floats(-1e3, 1e3, allow_nan=False, width=32)
SHAPES = st.sampled_from([
    "()", "(1,)", "(3,)", "(4,)", "(24,)", "(24, 1)", "(1, 4)", "(24, 2)", "(24, 3)", "(24, 5)", "(5, 4)", "(4, 24)",
    "(24, 4, 1)", "(1, 24, 4)", "(3, 24, 2)", "(24, 2, 2)", "(2, 1, 2, 2)", "(0,)", "(0, 4)", "(24, 0)", "(0, 0)",
])  # fmt: skip
DTYPES = ["float32", "float64", "float16", "int64", "uint8", "int8", "bool", "'>f4'", "longdouble", "uint64"]
# No separators: a path stays in the folder that the program works in.
TEXT = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="/\\~"), max_size=8).filter(
    lambda text: text not in (".", "..")
)


def _kinds(text: str) -> dict[str, list[str]]:
    """Kinds and their texts: a kind begins a line and ends with a colon, its texts are indented, with semicolons."""
    found: dict[str, list[str]] = {}
    for line in text.strip().splitlines():
        if not line.startswith(" "):
            kind = found.setdefault(line.removesuffix(":"), [])
        else:
            kind += line.strip().removesuffix(" ;").split(" ; ")
    return found


_NUMBERS = _kinds(r"""
zero:
    0 ; 0.0 ; -0.0 ; np.int64(0) ; np.float32(0)
one:
    1 ; 1.0 ; np.int32(1) ; np.uint8(1)
negative:
    -1 ; -2 ; -0.5 ; np.int64(-1) ; np.float64(-1e-9) ; -1e30 ; -2**40
whole:
    2 ; 3 ; 5 ; np.int16(2) ; np.uint64(3) ; 2.0
fraction:
    0.1 ; 0.5 ; 1.5 ; 2.5 ; 1e-9 ; 1e-300 ; np.float32(0.3) ; np.longdouble(0.5)
huge:
    2**63 ; -2**63 - 1 ; 10**30 ; 10**400 ; 1e300 ; -1e300 ; np.uint64(2**64 - 1) ; 2**64
not finite:
    math.nan ; math.inf ; -math.inf ; np.float32('nan') ; np.float64('-inf')
boolean:
    True ; False ; np.True_ ; np.False_
complex:
    1j ; complex(2) ; np.complex64(1)
scalar array:
    np.array(3) ; np.array(0.5) ; np.array(-1) ; tf.constant(2) ; tf.constant(0.5) ; np.ma.masked ; np.array(np.nan) ;
    np.array([3]) ; np.array([[2]]) ; tf.Variable(2) ; np.array(None) ; np.array('3')
other numbers:
    fractions.Fraction(1, 2) ; decimal.Decimal('2') ; datetime.timedelta(1) ; np.datetime64('nat')
seed:
    np.random.default_rng(0) ; np.random.RandomState(0) ; keras.random.SeedGenerator(0) ; 2**32 ; 2**31 ;
    np.random.SeedSequence(1) ; np.random ; [1, 2] ; np.uint32(2**32 - 1) ; tf.random.Generator.from_seed(1)
""")
_WORDS = _kinds(r"""
none:
    None
text:
    '' ; '3' ; '0.1' ; 'yes' ; 'auto' ; 'mean' ; 'sample' ; b'3' ; 'None' ; 'nan' ; bytearray(b'ab')
object:
    object() ; Ellipsis ; NotImplemented ; len ; int ; math ; lambda *a, **k: None ; slice(None) ; Broken() ;
    property() ; np.float32 ; type ; Exception('x') ; lambda x: x ; broken
container:
    [] ; () ; {} ; set() ; {1, 2} ; range(3) ; range(0) ; [None] ; ['a'] ; [1, 'a'] ; (1, None) ; [1, [2]] ;
    [[1, 2], [3]] ; [math.nan] ; {'a': 1} ; {1: 2} ; [[[]]] ; [1, 2] ; (2, 3) ; [0] ; [-1] ; (0, 1) ; [1.5] ; [True] ;
    iter([1, 2]) ; collections.deque([1]) ; frozenset([2]) ; (1,) * 40 ; map(int, '12')
path:
    '' ; '.' ; 'file' ; 'folder' ; 'file/m.keras' ; 'no/such/m.keras' ; 'a\0b' ; 'x' * 300 ; b'm.keras' ;
    pathlib.Path('folder') ; pathlib.Path('new.keras') ; 'new.keras' ; 'm.h5' ; 'm.txt' ; 'http://x' ; 'ü.keras' ;
    'm.keras' ; ' ' ; 'junk.keras' ; 'junk.npz' ; 'junk.npy' ; 'text.npz' ; 'x.npz' ; 'words' ; io.BytesIO() ;
    pathlib.PurePosixPath('p') ; 'new/' ; 'digits' ; 'photos' ; '.keras' ; 'gs:b'
""")
_ARRAYS = _kinds(r"""
not finite array:
    np.full((24, 4), np.nan, 'f') ; np.where(np.eye(24, 4) > 0, np.nan, X) ; X / 0.0 ;
    np.where(np.eye(24, 4) > 0, np.inf, X) ; np.array([1, np.nan]) ; [[math.nan] * 4] * 24 ; [math.inf] * 24
outside:
    255 * X ; X - 1e6 ; np.full((24, 4), 1e30, 'f') ; np.full((24, 4), 3e38) ; np.full((24, 4), 1e300) ;
    np.full((24, 4), 2**63 - 1) ; np.full((24, 4), -1) ; (255 * np.abs(X)).astype('uint8') ; np.full((24, 4), 0.5)
constant:
    np.zeros((24, 4), 'f') ; np.ones((24, 4)) ; np.zeros((1, 4)) ; X[:1] ; X[:2] ; np.ones((24, 2))
order:
    X[::-1] ; np.asfortranarray(X) ; X.T ; X[:, ::2] ; X.astype('>f8') ; memoryview(X) ; X.tolist() ; list(X) ;
    tuple(X) ; X.view(Sub) ; np.matrix(X) ; X[None] ; X[0] ; X[..., None] ; np.broadcast_to(X[0], (24, 4))
masked array:
    np.ma.masked_array(X, X > 0) ; np.ma.masked_all((24, 4)) ; np.ma.masked_array(X) ; np.ma.masked_array(Y, Y > 1) ;
    np.ma.masked_array(X, True) ; np.ma.masked_invalid(X)
array of objects:
    np.array([None, 1], object) ; np.array(['a', 1.0], object) ; X.astype(object) ; np.array([], object) ;
    np.array([X, None], object) ; np.array([X[0]] * 3 + [None], object) ; np.array([[10**30] * 4] * 24, object)
array of text:
    np.array(['a', 'b'] * 12) ; X.astype(str) ; np.array(['1']) ; np.array([b'a'] * 24) ; ['a'] * 24
array of dates:
    np.arange(24).astype('M8[D]') ; np.arange(96).reshape(24, 4).astype('m8[s]')
structured array:
    np.zeros(24, [('a', 'f4'), ('b', 'i4')]) ; np.rec.array([(1, 2.0)] * 24)
complex array:
    X + 0j ; X.astype('complex64') ; tf.constant(X + 1j)
data frame:
    pd.DataFrame(X) ; pd.DataFrame(X, columns=list('abcd')) ; pd.DataFrame(X).where(X > 0) ; pd.DataFrame() ;
    pd.DataFrame({'a': ['u'] * 24}) ; pd.DataFrame(X).astype('Float32') ;
    pd.DataFrame({'a': pd.Categorical(['u'] * 24)}) ; pd.Series(Y) ; pd.Series(['a'] * 24) ; pd.Series(X[:, 0]) ;
    pd.DataFrame(X).assign(t=pd.Timestamp('2020')) ; pl.DataFrame(X) ; pl.Series(Y) ;
    pl.DataFrame({'a': [None, 1.0]}) ; pl.DataFrame(X).lazy() ; pl.Series(['a'] * 24) ; xr.DataArray(X) ;
    xr.Dataset({'a': ('i', Y)}) ; pd.DataFrame(X, index=list(range(24))[::-1]) ; pd.Index(Y) ;
    pd.DataFrame(X, columns=list('aabc')) ; pd.DataFrame(X > 0).astype('boolean') ; pd.DataFrame(np.zeros((0, 4)))
sparse:
    sparse.csr_matrix(X) ; sparse.coo_array(X) ; sparse.csc_matrix(np.eye(24)) ; sparse.csr_matrix((0, 4)) ;
    tf.sparse.from_dense(X) ; tf.RaggedTensor.from_row_lengths(X.ravel(), [4] * 24) ; sparse.csr_matrix(X + 1j)
tensor:
    tf.constant(X) ; tf.Variable(X) ; tf.constant(['a'] * 24) ; keras.KerasTensor((24, 4)) ; keras.Input((4,)) ;
    tf.constant(X, tf.bfloat16) ; tf.constant(Y) ; tf.TensorSpec([24, 4]) ; keras.Variable(X) ;
    tf.constant(X, tf.float64)
""")
_DATA = _kinds(r"""
dataset:
    ds(X).batch(8) ; ds(X) ; ds(X).batch(8).take(0) ; ds(X).batch(8).repeat() ; ds((X, Y)).batch(7) ;
    ds({'x': X}).batch(8) ; ds({'y': X}).batch(8) ; ds(['a'] * 24).batch(8) ; ds((X, Y, Y, Y)).batch(8) ;
    ds(np.full((24, 4), np.nan)).batch(8) ; ds((X, Y + 9)).batch(8) ; ds((X, np.ones(24, 'f'))).batch(8) ;
    ds(X + 1j).batch(8) ; tf.data.Dataset.range(5) ; ds(((X, X), Y)).batch(8) ;
    ds(X).batch(8).map(lambda x: x[:, :3]) ; ds([X]).unbatch() ;
    ds(X).batch(8).map(lambda x: tf.py_function(broken, [x], tf.float32)) ; ds((X, Y, -np.ones(24, 'f'))).batch(8)
generator:
    (x for x in [X, X]) ; iter([]) ; iter([X, None]) ; iter([X, 'a']) ; (broken(x) for x in 'a') ; iter([(X, Y)]) ;
    iter([X, X[:, :3]]) ; iter([()]) ; iter([{'x': X, 'z': 1}]) ; zip(X, Y) ; iter(X) ; Sequence([X, X]) ;
    Sequence([])
split:
    Split(X) ; Split(X, Y) ; Split(X, Y, np.ones(24)) ; Split(X[:, :3]) ; Split(B, dynamic=True) ; Data ; Split ;
    Split(X, mask=X > 0) ; Split(sparse.csr_matrix(X)) ; Split(X, seed=3, batch_size=1) ; Split(X, ['a'] * 24)
pair:
    (X, Y) ; (X, Y, np.ones(24)) ; (X,) ; (None, X) ; (X, None) ; (X, Y, None, None) ; [X, Y] ; (X, X[:5]) ;
    (X, Y + 9) ; (X, 'a') ; (X, Y, np.zeros(24)) ; (X, Y, -np.ones(24)) ; ((X, Y), Y) ; (Split(X), Y) ;
    (X[:, :3], Y)
dict:
    {'x': X} ; {'y': X} ; {'x': X, 'mask': X > 0} ; {'x': X, 'mask': 2 * X} ; {'x': X, 'condition': Y} ; {'x': None} ;
    {'x': X, 'sample_weight': np.ones(5)} ; {'x': X, 'mask': 'a'} ; {'x': X, 3: Y} ; {'X': X, 'x': X} ;
    ({'x': X}, Y) ; {'x': X, 'mask': np.zeros((24, 4))} ; {'x': {'x': X}} ; {'x': X, 'condition': 'a'} ;
    {'x': np.full((24, 4), np.nan), 'mask': X > 9}
condition:
    Y ; Y + 9 ; -Y - 1 ; Y[:, None] ; Y + 0.5 ; Y.astype('f') ; np.eye(3)[Y] ; np.eye(4)[Y] ; Y[:5] ; Y > 0 ;
    Y.astype(str) ; Y.tolist() ; [0] * 24 ; 0 ; 2 ; 3 ; np.eye(3)[0] ; np.full(24, np.nan) ; np.eye(3)[Y] * np.nan
mask:
    X > 0 ; np.ones((24, 4)) ; np.zeros((24, 4)) ; 0.5 * np.ones((24, 4)) ; np.ones(24) ; np.ones((24, 1)) ;
    ~(X > 0)
model:
    vae ; conditional ; kvae.VAE ; encoder ; keras.Sequential() ; autoencoder ; type('V', (), {'posterior': 1})()
callback:
    keras.callbacks.Callback() ; [keras.callbacks.TerminateOnNaN()] ; [None] ; keras.callbacks.Callback ; ['a'] ;
    keras.callbacks.CallbackList([]) ; kvae.callbacks.Frames()
part:
    kvae.likelihoods.Normal() ; kvae.likelihoods.Normal ; 'normal' ; 'deterministic' ; 'adam' ; 'sgd' ; 'elbo' ;
    keras.optimizers.SGD() ; kvae.objectives.ELBO(beta=0) ; kvae.schedules.Linear() ;
    kvae.priors.ConditionalNormal() ; 'conditional_normal' ; 'likelihood' ; keras.losses.MeanSquaredError() ; 'mse' ;
    keras.optimizers.SGD(np.nan)
""")
KINDS = _NUMBERS | _WORDS | _ARRAYS | _DATA
NEAR = {  # the kinds that come close to what an argument takes
    "count": [*_NUMBERS, "none", "text"],
    "number": [*_NUMBERS, "none", "text"],
    "flag": ["zero", "one", "boolean", "none", "text", "scalar array"],
    "text": ["text", "none", "path", "whole", "object", "part"],
    "path": ["path", "text", "none"],
    "array": [*_ARRAYS, *_DATA],
    "other": list(KINDS),
}


FINE = _kinds(r"""
count:
    1 ; 2 ; 3 ; np.int64(2)
number:
    0.01 ; 0.5 ; 1 ; np.float32(0.3)
flag:
    True ; False ; np.True_
text:
    'mean' ; 'sample' ; 'auto' ; 'relu' ; 'gelu' ; 'static' ; 'posterior' ; 'prior' ; 'layer' ; 'float64' ; 'a title'
path:
    'new.keras' ; 'new/1' ; 'm.keras' ; 'folder' ; 'photos' ; pathlib.Path('other.keras')
array:
    X ; X[:7] ; B ; Y ; Z ; F ; None ; X.tolist() ; Split(X) ; Split(X, Y) ; Split(B, Y) ; ds(X).batch(8) ; X > 0 ;
    ds((X, Y)).batch(8) ; ds((B, Y)).batch(7) ; pd.DataFrame(X) ; np.ones((24, 4)) ; Y[:3] ; np.eye(3)[Y] ; (B, Y) ;
    {'x': X, 'mask': X > 0} ; tf.constant(X) ; np.ma.masked_array(X, X > 1) ; Data.train ; X[:1] ; X[:2]
other:
    None ; 3 ; (2, 3) ; (4,) ; [] ; vae ; conditional ; autoencoder ; 'full_normal' ; 'bernoulli' ; 0.5 ; 'optimal'
""")  # what an argument may well take


def _drawn(kind: str) -> st.SearchStrategy[str]:
    """Texts of one kind: those of the table, and where it makes sense others at random."""
    listed = st.sampled_from(KINDS[kind])
    more = {
        "whole": INTEGERS.map(repr),
        "fraction": FLOATS.map(repr),
        "text": TEXT.map(repr),
        "seed": st.integers(-(2**70), 2**70).map(repr),
        "constant": st.builds(lambda s, d, v: f"np.full({s}, {v}).astype({d if d[0] == chr(39) else repr(d)})",
                              SHAPES, st.sampled_from(DTYPES), st.sampled_from(["0", "1", "0.5", "3", "-2"])),
        "order": st.builds(lambda s, n: f"np.random.default_rng({n}).normal(size={s})", SHAPES, st.integers(0, 9)),
        "container": st.lists(st.one_of(INTEGERS, FLOATS, st.none(), TEXT), max_size=4).map(repr),
    }.get(kind)  # fmt: skip
    return listed if more is None else st.one_of(listed, more)


def values(near: str) -> st.SearchStrategy[tuple[str, str]]:
    """Pairs of a kind and a text: a quarter fine, half of kinds that come close to what the argument takes, others."""
    kinds = st.one_of(*(st.sampled_from(names) for names in (["fine"], NEAR[near], NEAR[near], list(KINDS))))
    fine = st.sampled_from(FINE[near])
    return kinds.flatmap(lambda kind: st.tuples(st.just(kind), fine if kind == "fine" else _drawn(kind)))
