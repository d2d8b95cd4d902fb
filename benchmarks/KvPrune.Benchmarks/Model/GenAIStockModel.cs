using System.Text.Json;
using KvPrune.AI.Models;
using KvPrune.AI.Runtimes.GenAI.Interop;

namespace KvPrune.Benchmarks.Model;

/// <summary>The untouched folder in ONNX Runtime GenAI's own generator, greedy.</summary>
internal sealed unsafe class GenAIStockModel : IModelContestant
{
    private readonly ModelHandle _model;
    private readonly GenAIModelFolder _folder;
    private readonly int _capacity;
    private GeneratorHandle? _generator;
    private int _unread;

    public GenAIStockModel(GenAIModelFolder folder, int capacity, int threads, string? libraryFolder)
    {
        _folder = folder;
        _capacity = capacity;
        GenAILibrary.EnsureLoaded(libraryFolder);
        NativeMethods.OgaCreateConfig(folder.Path, out ConfigHandle config).ThrowOnFailure();
        using (config)
        {
            var overlay = JsonSerializer.Serialize(
                new { model = new { decoder = new { session_options = new { intra_op_num_threads = threads } } } });
            NativeMethods.OgaConfigOverlay(config, overlay).ThrowOnFailure();
            NativeMethods.OgaCreateModelFromConfig(config, out _model).ThrowOnFailure();
        }
    }

    public string Name => "stock in GenAI";

    public long CacheBytes =>
        2L * _folder.Layers * _folder.KvHeads * _folder.HeadSize * sizeof(float) * (long)NativeMethods.OgaGenerator_TokenCount(Generator);

    private GeneratorHandle Generator => _generator ?? throw new InvalidOperationException($"{Name} was not started.");

    public TimeSpan? Start(FilledRows? past)
    {
        if (past is not null)
            throw new NotSupportedException($"{Name}: GenAI takes no filled past.");
        _generator?.Dispose();
        _generator = null;
        NativeMethods.OgaCreateGeneratorParams(_model, out GeneratorParamsHandle parameters).ThrowOnFailure();
        using (parameters)
        {
            NativeMethods.OgaGeneratorParamsSetSearchBool(parameters, "do_sample", false).ThrowOnFailure();
            NativeMethods.OgaGeneratorParamsSetSearchNumber(parameters, "max_length", _capacity).ThrowOnFailure();
            // Keeps end tokens from being drawn, after which the generator would do nothing, in no time.
            NativeMethods.OgaGeneratorParamsSetSearchNumber(parameters, "min_length", _capacity).ThrowOnFailure();
            NativeMethods.OgaCreateGenerator(_model, parameters, out _generator).ThrowOnFailure();
        }

        return null;
    }

    public void Announce(int tokens) => _unread = tokens;

    public void Read(ReadOnlySpan<int> chunk)
    {
        NativeMethods.OgaGenerator_AppendTokens(Generator, chunk, (nuint)chunk.Length).ThrowOnFailure();
        _unread -= chunk.Length;
        if (_unread == 0)
            Step(); // only draws: the logits are there
    }

    public int Step()
    {
        NativeMethods.OgaGenerator_GenerateNextToken(Generator).ThrowOnFailure();
        NativeMethods.OgaGenerator_GetNextTokens(Generator, out int* tokens, out _).ThrowOnFailure();
        return *tokens;
    }

    public void Dispose()
    {
        _generator?.Dispose();
        _model.Dispose();
    }
}
