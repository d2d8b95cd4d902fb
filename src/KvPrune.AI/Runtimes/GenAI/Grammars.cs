using Google.Protobuf;
using KvPrune.AI.Models;
using KvPrune.AI.Runtimes.GenAI.Interop;
using KvPrune.AI.Sampling;
using KvPrune.OnnxOps.Onnx;
using static KvPrune.OnnxOps.Onnx.TensorProto.Types;

namespace KvPrune.AI.Runtimes.GenAI;

/// <summary>
/// Grammars for a folder's tokenizer. GenAI keeps a grammar's state in a generator; these have a graph of their own that
/// computes nothing, so that neither a failed step nor a shared prompt of the decoder touches it.
/// </summary>
internal sealed class Grammars(GenAIModelFolder folder) : IDisposable
{
    // Two tokens of a generator for each token of an answer: see GrammarSampler.
    private readonly long _generatorLength = 2L * folder.ContextLength + 2;
    private ModelHandle? _model;

    /// <summary>A sampler that draws only what a grammar allows.</summary>
    /// <exception cref="ArgumentException">The grammar cannot be used; the message is the grammar engine's.</exception>
    /// <exception cref="NotSupportedException">The library, or the folder's tokenizer, is not made for grammars.</exception>
    public GrammarSampler CreateSampler(Guidance guidance, ITokenSampler sampler)
    {
        ModelHandle model = _model ??= Load();
        try
        {
            return new GrammarSampler(CreateGenerator(model, guidance.Kind, guidance.Grammar), sampler, folder);
        }
        catch (GenAIException error)
        {
            RequireGrammars(model);
            throw new ArgumentException($"The grammar ({guidance.Kind}) cannot be used: {error.Message}", nameof(guidance), error);
        }
    }

    public void Dispose() => _model?.Dispose();

    private ModelHandle Load()
    {
        ModelHandle model = GenAIModel.Load(folder, ConstantLogits(), $$$"""{"model":{"context_length":{{{_generatorLength}}}}}""", cpuOnly: true);
        try
        {
            // A library built without grammars takes any and enforces none.
            CreateGenerator(model, "no_such_kind", "a").Dispose();
        }
        catch (GenAIException)
        {
            return model;
        }
        model.Dispose();
        throw new NotSupportedException("This build of ONNX Runtime GenAI has no grammars.");
    }

    private void RequireGrammars(ModelHandle model)
    {
        try
        {
            CreateGenerator(model, "regex", "a").Dispose();
        }
        catch (GenAIException error)
        {
            throw new NotSupportedException($"ONNX Runtime GenAI has no grammars for the tokenizer of {folder.Path}: {error.Message}", error);
        }
    }

    private GeneratorHandle CreateGenerator(ModelHandle model, string kind, string grammar)
    {
        NativeMethods.OgaCreateGeneratorParams(model, out GeneratorParamsHandle parameters).ThrowOnFailure();
        using (parameters)
        {
            foreach ((string name, double value) in new (string, double)[]
            {
                ("max_length", _generatorLength), ("batch_size", 1), ("num_beams", 1), ("num_return_sequences", 1), ("chunk_size", 0),
                ("min_length", 0), ("repetition_penalty", 1), ("no_repeat_ngram_size", 0), // they would change the mask
            })
            {
                NativeMethods.OgaGeneratorParamsSetSearchNumber(parameters, name, value).ThrowOnFailure();
            }
            NativeMethods.OgaGeneratorParamsSetSearchBool(parameters, "do_sample", false).ThrowOnFailure();
            NativeMethods.OgaGeneratorParamsSetGuidance(parameters, kind, grammar, fastForward: false).ThrowOnFailure();
            NativeMethods.OgaCreateGenerator(model, parameters, out GeneratorHandle generator).ThrowOnFailure();
            return generator;
        }
    }

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
        var size = new TensorProto { Name = "shape", DataType = (int)DataType.Int64, Dims = { 3 }, Int64Data = { 1, 1, folder.VocabularySize } };
        var zeros = new NodeProto { OpType = "ConstantOfShape", Input = { "shape" }, Output = { folder.LogitsName } };
        var model = new ModelProto
        {
            IrVersion = 8,
            OpsetImport = { new OperatorSetIdProto { Version = 17 } },
            Graph = new GraphProto
            {
                Name = "constant",
                Initializer = { size },
                Node = { zeros },
                Input = { Value(folder.InputIdsName, DataType.Int64, 1, -1) },
                Output = { Value(folder.LogitsName, DataType.Float, 1, 1, folder.VocabularySize) },
            },
        };
        return model.ToByteArray();
    }
}
