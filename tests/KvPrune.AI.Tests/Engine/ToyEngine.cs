using System.Text;
using KvPrune.AI.Engine;
using KvPrune.AI.Sampling;
using KvPrune.OnnxOps;
using Microsoft.Extensions.AI;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;

namespace KvPrune.AI.Tests.Engine;

/// <summary>An engine over the toy runtime, with requests whose tokens are shown as letters.</summary>
internal sealed class ToyEngine : IDisposable
{
    private readonly CancellationTokenSource _patience = new(TimeSpan.FromSeconds(30));

    public ToyEngine(ToyRuntime runtime, int context = 10_000, int chunk = 16, int cachedPrompts = 0, string modelId = "toy",
        ILogger? logger = null, int[]? masked = null, bool knowsLimit = true, int[]? instruction = null)
    {
        Runtime = runtime;
        Engine = new InferenceEngine(runtime, new EngineSettings
        {
            ContextLength = context,
            EndTokens = new HashSet<int> { ToyRuntime.EndToken },
            MaskedTokens = masked ?? [],
            PrefillChunkTokens = chunk,
            RepeatInstruction = instruction ?? [],
            KvCacheByteLimit = knowsLimit ? runtime.ByteLimit : null,
            MaxCachedPrompts = cachedPrompts,
        }, modelId, new QuietLogger(logger ?? NullLogger.Instance));
    }

    public ToyRuntime Runtime { get; }

    public InferenceEngine Engine { get; }

    public static string Letters(IEnumerable<int> tokens) => string.Concat(tokens.Select(token => (char)('0' + token)));

    public static GenerationRequest Request(
        int[] prompt, int[]? ends = null, PruningPolicy? policy = null, int maxTokens = 20,
        string[]? stops = null, int[]? endTokens = null, IGuidedSampler? guided = null, SamplingOptions? sampling = null, CancellationToken cancellation = default) => new()
    {
        Prompt = prompt,
        SegmentEnds = ends ?? [prompt.Length],
        Policy = policy ?? PruningPolicy.Dense,
        Sampling = sampling ?? SamplingOptions.Greedy,
        MaxOutputTokens = maxTokens,
        Text = new AnswerText(token => Letters([token]), () => "", stops ?? []),
        Guided = guided,
        Cancellation = cancellation,
        EndTokens = endTokens ?? [],
    };

    /// <summary>What the request has to answer.</summary>
    public static string Expected(GenerationRequest request) => Letters(
        ToyRuntime.ExpectedAnswer(request.Prompt, request.SegmentEnds, request.Policy, request.MaxOutputTokens));

    /// <summary>A prompt of one segment whose answer has at least <paramref name="answerTokens"/> tokens.</summary>
    public static int[] PromptAnswering(int answerTokens, int promptTokens = 3) => Enumerable.Range(1, 10_000)
        .Select(seed => new Random(seed)).Select(random => Enumerable.Range(0, promptTokens).Select(_ => random.Next(1, 63)).ToArray())
        .First(prompt => ToyRuntime.ExpectedAnswer(prompt, [promptTokens], PruningPolicy.Dense, answerTokens).Length == answerTokens);

    public GenerationRequest Submit(GenerationRequest request)
    {
        Engine.Submit(request);
        return request;
    }

    public Task<Answer> AskAsync(GenerationRequest request) => CollectAsync(Submit(request));

    public Task<Answer> CollectAsync(GenerationRequest request) => CollectAsync(request, _patience.Token);

    public static async Task<Answer> CollectAsync(GenerationRequest request, CancellationToken patience)
    {
        var text = new StringBuilder();
        List<PrefillProgress> progress = [];
        GenerationEvent.Finished? finished = null;
        await foreach (GenerationEvent generationEvent in request.Events.ReadAllAsync(patience))
        {
            Assert.Null(finished);
            switch (generationEvent)
            {
                case GenerationEvent.Text piece: text.Append(piece.Value); break;
                case GenerationEvent.Prefilled prefilled: progress.Add(prefilled.Progress); break;
                case GenerationEvent.Finished last: finished = last; break;
            }
        }
        Assert.NotNull(finished);
        return new Answer(text.ToString(), finished.Reason, finished.Statistics, progress);
    }

    public void Dispose()
    {
        Engine.Dispose();
        Assert.True(Runtime.IsDisposed);
        Assert.Equal(0, Runtime.SequencesAlive);
        _patience.Dispose();
    }

    internal sealed record Answer(
        string Text, ChatFinishReason Reason, GenerationStatistics Statistics, List<PrefillProgress> Progress);
}
