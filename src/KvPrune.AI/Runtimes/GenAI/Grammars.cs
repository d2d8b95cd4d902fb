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
    // To make a generator takes as long as to read the tokenizer, and applications ask for the same few schemas again.
    private const int MaxIdle = 4;

    // Two tokens of a generator for each token of an answer: see GrammarSampler.
    private readonly long _generatorLength = 2L * folder.ContextLength + 2;
    private readonly List<(Guidance Guidance, GeneratorHandle Generator)> _idle = []; // longest unused first
    private ModelHandle? _model;
    private bool _disposed;

    /// <summary>A sampler that draws only what a grammar allows.</summary>
    /// <exception cref="ArgumentException">The grammar cannot be used; the message is the grammar engine's.</exception>
    /// <exception cref="NotSupportedException">The library, or the folder's tokenizer, is not made for grammars.</exception>
    public GrammarSampler CreateSampler(Guidance guidance, ITokenSampler sampler)
    {
        ModelHandle model = _model ??= Load();
        int index = _idle.FindLastIndex(idle => idle.Guidance == guidance);
        if (index >= 0)
        {
            GeneratorHandle generator = _idle[index].Generator;
            _idle.RemoveAt(index);
            return new GrammarSampler(generator, sampler, folder, done => Keep(guidance, done));
        }
        try
        {
            string grammar = guidance.Kind == Guidance.JsonSchemaKind ? JsonSchemaSeparators.Fix(guidance.Grammar) : guidance.Grammar;
            return new GrammarSampler(CreateGenerator(model, guidance.Kind, grammar), sampler, folder, done => Keep(guidance, done));
        }
        catch (GenAIException error)
        {
            RequireGrammars(model);
            throw new ArgumentException($"The grammar ({guidance.Kind}) cannot be used: {error.Message}", nameof(guidance), error);
        }
    }

    public void Dispose()
    {
        _disposed = true;
        foreach (var (_, generator) in _idle) generator.Dispose();
        _idle.Clear();
        _model?.Dispose();
    }

    private void Keep(Guidance guidance, GeneratorHandle generator)
    {
        // Back at its start a generator has forgotten the answer.
        if (_disposed || NativeMethods.OgaGenerator_RewindTo(generator, 0).TakeError() is not null)
        {
            generator.Dispose();
            return;
        }
        if (_idle.Count == MaxIdle)
        {
            _idle[0].Generator.Dispose();
            _idle.RemoveAt(0);
        }
        _idle.Add((guidance, generator));
    }

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
