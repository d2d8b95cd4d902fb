using Google.Protobuf;
using KvPrune.AI.Models;
using KvPrune.AI.Runtimes.GenAI.Interop;
using KvPrune.AI.Sampling;
using KvPrune.OnnxOps.Onnx;
using static KvPrune.OnnxOps.Onnx.TensorProto.Types;

namespace KvPrune.AI.Runtimes.GenAI;

/// <summary>A model with a folder's tokenizer and a graph that computes nothing, whose generators hold grammars.</summary>
internal sealed class GrammarModel : IDisposable
{
    private readonly GenAIModelFolder _folder;
    private readonly int _length;
    private readonly ModelHandle _model;

    /// <exception cref="NotSupportedException">The library has no grammars.</exception>
    /// <exception cref="ModelFolderException">GenAI cannot load the model.</exception>
    public GrammarModel(GenAIModelFolder folder)
    {
        _folder = folder;
        // Two tokens of a generator for each token of an answer and for the mark, and two to start: see GrammarSampler.
        _length = checked((2 * folder.ContextLength) + 4);
        // For some other types GenAI reads everything again at a certain length, which would begin the grammar anew.
        string settings = $$$"""{"model":{"type":"llama","context_length":{{{_length}}}}}""";
        _model = GenAIModel.Load(folder, ConstantLogits(), settings, cpuOnly: true);
        // A library built without grammars takes any and enforces none.
        if (Refusal("no_such_kind", "a") is not null) return;
        _model.Dispose();
        throw new NotSupportedException("This build of ONNX Runtime GenAI has no grammars.");
    }

    /// <summary>A generator without tokens, whose mask is the grammar's.</summary>
    /// <param name="kind">GenAI's name of the notation.</param>
    /// <param name="grammar">The grammar.</param>
    /// <exception cref="GenAIException">The grammar cannot be used.</exception>
    public GeneratorHandle CreateGenerator(string kind, string grammar)
    {
        NativeMethods.OgaCreateGeneratorParams(_model, out GeneratorParamsHandle parameters).ThrowOnFailure();
        using (parameters)
        {
            foreach ((string name, double value) in new (string, double)[]
            {
                ("max_length", _length), ("batch_size", 1), ("num_beams", 1), ("num_return_sequences", 1), ("chunk_size", 0),
                ("min_length", 0), ("repetition_penalty", 1), ("no_repeat_ngram_size", 0), // they would change the mask
            })
            {
                NativeMethods.OgaGeneratorParamsSetSearchNumber(parameters, name, value).ThrowOnFailure();
            }
            NativeMethods.OgaGeneratorParamsSetSearchBool(parameters, "do_sample", false).ThrowOnFailure();
            NativeMethods.OgaGeneratorParamsSetGuidance(parameters, kind, grammar, fastForward: false).ThrowOnFailure();
            NativeMethods.OgaCreateGenerator(_model, parameters, out GeneratorHandle generator).ThrowOnFailure();
            return generator;
        }
    }

    /// <summary>Why a grammar cannot be used; null if it can.</summary>
    public string? Refusal(string kind, string grammar)
    {
        try
        {
            CreateGenerator(kind, grammar).Dispose();
            return null;
        }
        catch (GenAIException error)
        {
            return error.Message;
        }
    }

    /// <exception cref="NotSupportedException">No grammar can be used with the folder's tokenizer.</exception>
    public void RequireGrammars()
    {
        if (Refusal(Guidance.RegexKind, "a") is { } problem)
            throw new NotSupportedException($"ONNX Runtime GenAI has no grammars for the tokenizer of {_folder.Path}: {problem}");
    }

    public void Dispose() => _model.Dispose();

    /// <summary>A decoder that finds every token equally likely: logits [1, 1, vocabulary] of zeros.</summary>
    private byte[] ConstantLogits()
    {
        static ValueInfoProto Value(string name, DataType type, params long[] dimensions)
        {
            var shape = new TensorShapeProto();
            foreach (long size in dimensions)
                shape.Dim.Add(size < 0 ? new TensorShapeProto.Types.Dimension { DimParam = "sequence" } : new() { DimValue = size });
            return new() { Name = name, Type = new() { TensorType = new() { ElemType = (int)type, Shape = shape } } };
        }
        var size = new TensorProto { Name = "shape", DataType = (int)DataType.Int64, Dims = { 3 }, Int64Data = { 1, 1, _folder.VocabularySize } };
        var zeros = new NodeProto { OpType = "ConstantOfShape", Input = { "shape" }, Output = { _folder.LogitsName } };
        var model = new ModelProto
        {
            IrVersion = 8,
            OpsetImport = { new OperatorSetIdProto { Version = 17 } },
            Graph = new GraphProto
            {
                Name = "constant",
                Initializer = { size },
                Node = { zeros },
                Input = { Value(_folder.InputIdsName, DataType.Int64, 1, -1) },
                Output = { Value(_folder.LogitsName, DataType.Float, 1, 1, _folder.VocabularySize) },
            },
        };
        return model.ToByteArray();
    }
}
