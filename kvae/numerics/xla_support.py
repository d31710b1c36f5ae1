"""Which layers XLA can compile. Keras' common ones it can; others are tried, one by one, without being run."""

from collections.abc import Iterable

import keras
import tensorflow as tf

_COMPILES = frozenset(
    """
    Activation Add Average AveragePooling1D AveragePooling2D AveragePooling3D BatchNormalization Concatenate
    Conv1D Conv1DTranspose Conv2D Conv2DTranspose Conv3D Conv3DTranspose ConvolutionTranspose Cropping1D
    Cropping2D Cropping3D Dense DepthwiseConv1D DepthwiseConv2D Dot Dropout EinsumDense ELU Embedding Flatten
    Functional GaussianDropout GaussianNoise GlobalAveragePooling1D GlobalAveragePooling2D
    GlobalAveragePooling3D GlobalMaxPooling1D GlobalMaxPooling2D GlobalMaxPooling3D GroupNormalization Identity
    InputLayer LayerNormalization LeakyReLU MaxPooling1D MaxPooling2D MaxPooling3D Maximum Minimum Model
    Multiply Permute PReLU ReLU RepeatVector Rescaling Reshape RMSNormalization SeparableConv1D SeparableConv2D
    Sequential Softmax SpatialDropout1D SpatialDropout2D SpatialDropout3D Subtract UnitNormalization
    ZeroPadding1D ZeroPadding2D ZeroPadding3D
    """.split()  # noqa: SIM905
)


def refused_layers(networks: Iterable) -> list[str]:
    """The layers of built Keras models that XLA cannot compile, each as "name (class)". None is run."""
    layers = {id(layer): layer for network in networks for layer in network._flatten_layers()}
    return [f"{layer.name} ({type(layer).__name__})" for layer in layers.values() if not _compiles(layer)]


def _compiles(layer) -> bool:
    if _known(layer) or not layer._inbound_nodes:
        return True
    inputs = keras.tree.map_structure(lambda one: tf.zeros([2, *one.shape[1:]], one.dtype), layer.input)

    def forward_and_backward(inputs):
        with tf.GradientTape() as tape:
            tape.watch([one for one in tf.nest.flatten(inputs) if one.dtype.is_floating])
            outputs = layer(inputs, training=True) if layer._call_has_training_arg else layer(inputs)
            total = tf.add_n([tf.reduce_sum(one) for one in tf.nest.flatten(outputs) if one.dtype.is_floating])
        watched = [one for one in tf.nest.flatten(inputs) if one.dtype.is_floating] + layer.trainable_variables
        return tf.nest.flatten(outputs), [g for g in tape.gradient(total, watched) if g is not None]

    try:
        function = tf.function(forward_and_backward, jit_compile=True, autograph=False)
        function.experimental_get_compiler_ir(inputs)(stage="hlo")
    except (ValueError, tf.errors.OpError) as error:
        return "HLO" not in str(error)  # other errors are not XLA's
    return True


def _known(layer) -> bool:
    function = getattr(layer, "activation", None)
    own = function is not None and not getattr(function, "__module__", "").startswith("keras.")
    return not own and type(layer).__module__.startswith(("keras.", "kvae.")) and type(layer).__name__ in _COMPILES
