using KvPrune.OnnxOps.Onnx;
using static KvPrune.OnnxOps.Onnx.TensorProto.Types;

namespace KvPrune.OnnxOps.Rewriting.Projections;

/// <summary>Finds the product with constant weights that takes an attention node's output.</summary>
internal sealed class ProjectionFinder(GraphIndex index, string folder)
{
    // Layouts deeper than this are no weights.
    private const int DeepestWeight = 8;

    /// <summary>The output projection; the caller disposes it.</summary>
    /// <exception cref="ModelRewriteException">There is none, or more than one, or it is stored in an unknown way.</exception>
    public ProjectionWeight Find(AttentionNode attention)
    {
        ModelRewriteException Refused(string reason, Exception? inner = null) => new(
            $"{attention.Label}: the output projection behind it, which the policy needs, cannot be used: {reason}.", inner!);
        var values = Forward(attention.Source.Output[0]);
        var readers = values.SelectMany(value => index.Readers(value).Where(node => !Passes(node))).Distinct().ToList();
        var products = readers.Where(node => IsProduct(node) && values.Contains(node.InputAt(0))).ToList();
        if (products is not [var product])
        {
            throw Refused(
                products.Count > 1 ? $"{string.Join(" and ", products.Select(node => node.Label()))} both multiply its output"
                : readers.Count > 0 ? $"its output goes to {string.Join(", ", readers.Select(node => node.Label()))}"
                : "nothing reads its output");
        }

        ProjectionWeight weight;
        try
        {
            weight = product.OpType == "MatMulNBits" ? BlockQuantized(product) : Constant(product);
        }
        catch (ModelRewriteException e)
        {
            throw Refused($"{product.Label()}: {e.Message.TrimEnd('.')}", e);
        }

        var width = attention.QueryHeads * attention.HeadSize;
        if (weight.Inputs == width)
            return weight;
        weight.Dispose();
        throw Refused($"{product.Label()} takes {weight.Inputs} channels, heads and channels make {width}");
    }

    // The value and what nodes make of it that leave rows as they are.
    private HashSet<string> Forward(string value)
    {
        var reached = new HashSet<string> { value };
        var open = new Queue<string>(reached);
        while (open.TryDequeue(out var next))
        {
            foreach (var node in index.Readers(next).Where(node => Passes(node) && node.InputAt(0) == next))
            {
                if (reached.Add(node.Output[0]))
                    open.Enqueue(node.Output[0]);
            }
        }

        return reached;
    }

    private static bool Passes(NodeProto node) => GraphIndex.IsCast(node) || node.IsStandard("Reshape");

    private static bool IsProduct(NodeProto node) =>
        node.IsStandard("MatMul") || node.IsStandard("Gemm") || node is { OpType: "MatMulNBits", Domain: "com.microsoft" };

    private BlockQuantizedWeight BlockQuantized(NodeProto node)
    {
        var attributes = new AttributeReader(node);
        var (inputs, outputs) = (attributes.RequirePositive("K"), attributes.RequirePositive("N"));
        var (bits, blockSize) = ((int)attributes.Int("bits", 4), attributes.RequirePositive("block_size"));
        if (bits is not (2 or 4 or 8) || blockSize * bits % 8 != 0)
            throw new ModelRewriteException($"its {bits} bits in blocks of {blockSize} are not supported.");
        if (node.InputAt(4).Length > 0)
            throw new ModelRewriteException("its inputs are in an order of their own (g_idx), which is not supported.");
        var weight = new BlockQuantizedWeight(
            Values(node, 1), Values(node, 2), node.InputAt(3).Length > 0 ? Values(node, 3) : null, bits, blockSize)
        {
            Inputs = inputs,
            Outputs = outputs,
            RowsAreInputs = false,
        };
        try
        {
            weight.Check();
            return weight;
        }
        catch
        {
            weight.Dispose();
            throw;
        }
    }

    private ProjectionWeight Constant(NodeProto product)
    {
        var attributes = new AttributeReader(product);
        var gemm = product.OpType == "Gemm";
        if (gemm && attributes.Int("transA", 0) != 0)
            throw new ModelRewriteException("it transposes the attention's output (transA).");
        var factor = gemm ? attributes.Float("alpha", 1) : 1;
        var turned = gemm && attributes.Int("transB", 0) != 0;
        var value = product.InputAt(1);
        for (var depth = 0; depth < DeepestWeight; depth++)
        {
            if (Tensor(value) is { } tensor)
                return Dense(tensor, turned, factor);
            var node = index.Producer(value);
            if (node?.IsStandard("DequantizeLinear") == true)
                return Dequantized(node, turned, factor);
            if (node is null || !(GraphIndex.IsCast(node) || IsTranspose(node)))
                throw new ModelRewriteException($"its weights '{product.InputAt(1)}' are not constant.");
            turned ^= IsTranspose(node);
            value = node.InputAt(0);
        }

        throw new ModelRewriteException($"its weights '{product.InputAt(1)}' are not constant.");
    }

    private DenseWeight Dense(TensorProto tensor, bool turned, float factor)
    {
        var (rows, columns) = Matrix(tensor);
        var values = new TensorValues(tensor, folder);
        if (values.IsReal)
        {
            return new DenseWeight(values)
            {
                Inputs = turned ? columns : rows, Outputs = turned ? rows : columns, RowsAreInputs = !turned, Factor = factor,
            };
        }

        values.Dispose();
        throw values.Refused($"holds weights of the type {values.Type}, which is not supported");
    }

    private DequantizedWeight Dequantized(NodeProto node, bool turned, float factor)
    {
        var tensor = Require(node, 0);
        var (rows, columns) = Matrix(tensor);
        if (!DequantizedWeight.IsSupported((DataType)tensor.DataType))
            throw new ModelRewriteException($"tensor '{tensor.Name}' holds weights of the type {(DataType)tensor.DataType}, which is not supported.");
        var attributes = new AttributeReader(node);
        var axis = attributes.Int("axis", 1);
        var blockSize = attributes.Int("block_size", 0);
        var scaleDims = Require(node, 1).Dims;
        var byRows = axis is 0 or -2;
        // How many rows and columns share a scale.
        var (rowBlock, columnBlock) = (scaleDims.Count, blockSize) switch
        {
            (0, 0) => (rows, columns),
            (1, 0) when scaleDims[0] == 1 => (rows, columns),
            (1, 0) => byRows ? (1, columns) : (rows, 1),
            (2, > 0 and <= int.MaxValue) => byRows ? ((int)blockSize, 1) : (1, (int)blockSize),
            _ => throw new ModelRewriteException($"{node.Label()} has scales of {scaleDims.Count} dimensions with blocks of {blockSize}."),
        };
        var scaleColumns = (columns + columnBlock - 1) / columnBlock;
        var needed = (long)((rows + rowBlock - 1) / rowBlock) * scaleColumns;
        using var scales = Values(node, 1);
        if (scales.Count != needed)
            throw scales.Refused($"holds {scales.Count} scales, '{tensor.Name}' needs {needed}");
        using var zeroPoints = node.InputAt(2).Length > 0 ? Values(node, 2) : null;
        var numbers = Values(node, 0);
        try
        {
            return new DequantizedWeight(numbers, scales, zeroPoints)
            {
                Inputs = turned ? columns : rows,
                Outputs = turned ? rows : columns,
                RowsAreInputs = !turned,
                Factor = factor,
                Blocks = (rowBlock, columnBlock, scaleColumns),
            };
        }
        catch
        {
            numbers.Dispose();
            throw;
        }
    }

    private TensorValues Values(NodeProto node, int input) => new(Require(node, input), folder);

    private TensorProto Require(NodeProto node, int input) => Tensor(index.BackThroughCasts(node.InputAt(input)).LastOrDefault() ?? "")
        ?? throw new ModelRewriteException($"its weights '{node.InputAt(input)}' are not constant.");

    private TensorProto? Tensor(string value) => index.Initializer(value)
        ?? (index.Producer(value) is { } node && node.IsStandard("Constant")
            ? node.Attribute.FirstOrDefault(attribute => attribute.Name == "value")?.T
            : null);

    private static bool IsTranspose(NodeProto node) =>
        node.IsStandard("Transpose") && node.Attribute.FirstOrDefault(a => a.Name == "perm")?.Ints is null or [1, 0];

    private static (int Rows, int Columns) Matrix(TensorProto tensor) =>
        tensor.Dims is [> 0 and <= int.MaxValue, > 0 and <= int.MaxValue]
            ? ((int)tensor.Dims[0], (int)tensor.Dims[1])
            : throw new ModelRewriteException($"tensor '{tensor.Name}' has the dimensions [{string.Join(", ", tensor.Dims)}] in place of two.");
}
