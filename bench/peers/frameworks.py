"""The peers in Python, each as its users call it, on one thread: a class per framework, with

    prepare(op, n, c, dtype, layout)    a function that computes op once, ready to be timed
    numbers(result)                     of what that function returns: mean loss (or NaN), and the
                                        result's elements in C order as a NumPy array
"""
import math

import data


class Peer:
    def __init__(self, folder):
        self.folder = folder

    def drop(self):
        pass

    def logits(self, n, c, dtype):
        return data.logits(self.folder, dtype, n * c)

    def input(self, op, n):
        return data.probabilities(self.folder, n) if op == "bce" else data.logits(self.folder, "f32", n)


class Torch(Peer):
    def __init__(self, folder):
        super().__init__(folder)
        import torch
        torch.set_num_threads(1)
        self.torch = torch
        self.version = torch.__version__

    def tensor(self, array, dtype):
        tensor = self.torch.from_numpy(array)
        return tensor.view(self.torch.bfloat16) if dtype == "bf16" else tensor

    def drop(self):
        self.torch.compiler.reset()

    def loss_and_gradient(self, loss, x):
        grad = self.torch.autograd.grad
        x.requires_grad_()

        def step():
            value = loss(x)
            return value, grad(value, x)[0]
        return step

    def prepare(self, op, n, c, dtype, layout):
        torch, F = self.torch, self.torch.nn.functional
        op, _, compiled = op.partition("+")
        wrap = (lambda f: torch.compile(f, dynamic=False)) if compiled else (lambda f: f)
        if op in ("bce", "bce_logits", "sigmoid"):
            x = torch.from_numpy(self.input(op, n))
            if op == "sigmoid":
                return lambda: (None, torch.sigmoid(x))
            y = torch.from_numpy(data.labels(self.folder, n))
            function = F.binary_cross_entropy if op == "bce" else F.binary_cross_entropy_with_logits
            return self.loss_and_gradient(wrap(lambda x: function(x, y)), x)
        x = self.tensor(self.logits(n, c, dtype), dtype).reshape((1, c, n) if layout == "strided" else (n, c))
        if op == "ce":
            t = torch.from_numpy(data.targets(self.folder, n, c))
            t = t[None] if layout == "strided" else t
            return self.loss_and_gradient(wrap(lambda x: F.cross_entropy(x, t)), x)
        function = {"softmax": torch.softmax, "log_softmax": torch.log_softmax, "lse": torch.logsumexp}[op]
        return lambda: (None, function(x, 1))

    def numbers(self, result):
        mean, array = result
        array = array.detach().flatten()
        if array.dtype == self.torch.bfloat16:
            array = array.view(self.torch.uint16)
        return math.nan if mean is None else mean.item(), array.numpy()


class Jax(Peer):
    def __init__(self, folder):
        super().__init__(folder)
        import jax
        self.jax = jax
        self.version = jax.__version__

    def prepare(self, op, n, c, dtype, layout):
        jax, jnp = self.jax, self.jax.numpy
        if op == "bce_logits":
            x, y = jnp.asarray(self.input(op, n)), jnp.asarray(data.labels(self.folder, n))

            def loss(x, y):    # optax.sigmoid_binary_cross_entropy
                return jnp.mean(-y * jax.nn.log_sigmoid(x) - (1 - y) * jax.nn.log_sigmoid(-x))
            return self.ready(jax.value_and_grad(loss), x, y)
        x = jnp.asarray(self.logits(n, c, dtype).reshape(n, c))
        if op == "ce":
            t = jnp.asarray(data.targets(self.folder, n, c).astype("int32"))

            def loss(x, t):    # optax.softmax_cross_entropy_with_integer_labels
                at_target = jnp.take_along_axis(x, t[:, None], axis=1)[:, 0]
                return jnp.mean(jax.nn.logsumexp(x, axis=1) - at_target)
            return self.ready(jax.value_and_grad(loss), x, t)
        function = {"softmax": jax.nn.softmax, "log_softmax": jax.nn.log_softmax}[op]
        return self.ready(lambda x: (math.nan, function(x, axis=1)), x)

    def ready(self, function, *arguments):
        function = self.jax.jit(function)
        wait = self.jax.block_until_ready
        return lambda: wait(function(*arguments))

    def numbers(self, result):
        import numpy
        return float(result[0]), numpy.asarray(result[1]).ravel()


class TensorFlow(Peer):
    def __init__(self, folder):
        super().__init__(folder)
        import tensorflow
        tensorflow.config.threading.set_intra_op_parallelism_threads(1)
        tensorflow.config.threading.set_inter_op_parallelism_threads(1)
        self.tf = tensorflow
        self.version = tensorflow.__version__

    def prepare(self, op, n, c, dtype, layout):
        tf = self.tf
        x = tf.constant(self.logits(n, c, dtype).reshape(n, c))
        t = tf.constant(data.targets(self.folder, n, c))

        @tf.function
        def step(x, t):    # the kernel computes both at once
            loss, gradient = tf.raw_ops.SparseSoftmaxCrossEntropyWithLogits(features=x, labels=t)
            return tf.reduce_mean(loss), gradient * (1 / n)
        step = step.get_concrete_function(x, t)
        return lambda: step(x, t)

    def numbers(self, result):
        return float(result[0]), result[1].numpy().ravel()


class OnnxRuntime(Peer):
    def __init__(self, folder):
        super().__init__(folder)
        import onnx
        import onnxruntime
        self.onnx, self.ort = onnx, onnxruntime
        self.version = onnxruntime.__version__

    def prepare(self, op, n, c, dtype, layout):
        helper, ort = self.onnx.helper, self.ort
        info = [helper.make_tensor_value_info(name, self.onnx.TensorProto.FLOAT, [n, c]) for name in "xy"]
        node = helper.make_node({"softmax": "Softmax", "log_softmax": "LogSoftmax"}[op], ["x"], ["y"], axis=1)
        model = helper.make_model(helper.make_graph([node], op, info[:1], info[1:]),
                                  opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        options = ort.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        x = self.logits(n, c, dtype).reshape(n, c)
        y = ort.OrtValue.ortvalue_from_shape_and_type([n, c], "float32", "cpu")
        binding = session.io_binding()
        binding.bind_ortvalue_input("x", ort.OrtValue.ortvalue_from_numpy(x))
        binding.bind_ortvalue_output("y", y)

        def call():
            session.run_with_iobinding(binding)
            return y
        call.keep = x    # the session reads it where it is
        return call

    def numbers(self, result):
        return math.nan, result.numpy().ravel()


FRAMEWORKS = {"torch": Torch, "jax": Jax, "tensorflow": TensorFlow, "onnxruntime": OnnxRuntime}
