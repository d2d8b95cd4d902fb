using KvPrune.AI.Engine;
using KvPrune.AI.Models;
using KvPrune.AI.Runtimes;
using KvPrune.OnnxOps;
using Microsoft.Extensions.Logging.Abstractions;

namespace KvPrune.AI.Tests.Engine;

/// <summary>The cache's byte limit is reached while several requests decode.</summary>
public class ShortMemoryTests
{
    private const int Requests = 4, PromptTokens = 60, OutputTokens = 50;

    [Theory]
    [InlineData(1)]
    [InlineData(3)]
    [InlineData(8)]
    public async Task The_request_that_finds_no_memory_fails_and_the_others_get_what_they_get_alone(int requestCount)
    {
        // Each sequence grows to 42 tokens. One falls short of memory, and none that could go on when it is gone.
        long limit = requestCount * 34L * ToyRuntime.TokenBytes;
        var runtime = new ToyRuntime { ByteLimit = limit };
        using var allSubmitted = new ManualResetEventSlim();
        runtime.OnStep = _ => allSubmitted.Wait();
        using var engine = new ToyEngine(runtime, knowsLimit: false);
        int[] prompt = ToyEngine.PromptAnswering(40);
        GenerationRequest[] requests = [.. Enumerable.Range(0, requestCount).Select(_ => ToyEngine.Request(prompt, maxTokens: 40))];
        Task<ToyEngine.Answer>[] answers = [.. requests.Select(engine.AskAsync)];
        allSubmitted.Set();

        int failed = 0;
        foreach (Task<ToyEngine.Answer> answer in answers)
        {
            try
            {
                Assert.Equal(ToyEngine.Expected(requests[0]), (await answer).Text);
            }
            catch (GenerationException error)
            {
                failed++;
                Assert.Equal(KvCacheStatus.OutOfMemory, Assert.IsType<KvCacheException>(error.InnerException).Status);
                Assert.Contains($"{limit}", error.Message, StringComparison.Ordinal);
                Assert.Contains("at generated token ", error.Message, StringComparison.Ordinal);
            }
        }
        Assert.Equal(1, failed);
        GenerationRequest later = ToyEngine.Request([1, 2, 3], maxTokens: 5);
        Assert.Equal(ToyEngine.Expected(later), (await engine.AskAsync(later)).Text);
    }

    [Fact]
    public async Task A_real_cache_says_what_was_missing_and_the_others_go_on()
    {
        int[][] prompts = [.. Enumerable.Range(0, Requests).Select(i => BundledModel.ReferencePrompt.Tokens[(90 * i)..(90 * i + PromptTokens)])];
        ToyEngine.Answer?[] alone = await Answers(prompts, limit: null);
        Assert.All(alone, answer => Assert.Equal(OutputTokens, answer!.Statistics.GeneratedTokens));

        KvModelShape shape = Shape();
        long before = KvCacheManager.EstimateBytes(shape, PruningPolicy.Exact, PromptTokens).ResidentBytes;
        long growth = KvCacheManager.EstimateBytes(shape, PruningPolicy.Exact, PromptTokens, OutputTokens - 1).ResidentBytes - before;
        // The tails fill up after 36 tokens. One of them finds no room for the tiles.
        long limit = (Requests * before) + (Requests * growth) - (growth / 2);
        var failures = new List<GenerationException>();
        ToyEngine.Answer?[] together = await Answers(prompts, limit, failures);

        GenerationException failure = Assert.Single(failures);
        Assert.Equal(KvCacheStatus.OutOfMemory, Assert.IsType<KvCacheException>(failure.InnerException).Status);
        Assert.Matches($@"at generated token 3\d: the KV cache needs \d+ more bytes, but \d+ of the limit of {limit} bytes are in use", failure.Message);
        for (int i = 0; i < Requests; i++)
        {
            if (together[i] is { } answer) Assert.Equal(alone[i]!.Text, answer.Text);
        }
    }

    private static KvModelShape Shape()
    {
        using OnnxRuntimeDecoder decoder = BundledModel.LoadDecoder();
        return decoder.Shape;
    }

    /// <summary>Without a limit one after the other, with one all at once; null where a request failed.</summary>
    private static async Task<ToyEngine.Answer?[]> Answers(int[][] prompts, long? limit, List<GenerationException>? failures = null)
    {
        var decoder = OnnxRuntimeDecoder.Load(GenAIModelFolder.Load(BundledModel.Folder), limit, threads: 1);
        // The engine knows no limit, so it lets everything begin.
        var settings = new EngineSettings { ContextLength = 8192, EndTokens = new HashSet<int>() };
        using var engine = new InferenceEngine(decoder, settings, "bundled", new QuietLogger(NullLogger.Instance));
        var answers = new ToyEngine.Answer?[prompts.Length];
        async Task Ask(int index)
        {
            GenerationRequest request = ToyEngine.Request(prompts[index], policy: PruningPolicy.Exact, maxTokens: OutputTokens);
            engine.Submit(request);
            try
            {
                answers[index] = await ToyEngine.CollectAsync(request, CancellationToken.None);
            }
            catch (GenerationException error)
            {
                failures!.Add(error);
            }
        }

        if (limit is null)
        {
            for (int i = 0; i < prompts.Length; i++) await Ask(i);
        }
        else
        {
            foreach (Task task in Enumerable.Range(0, prompts.Length).Select(Ask).ToArray()) await task;
        }
        Assert.Equal(0, decoder.GetStatistics().TotalBytes);
        return answers;
    }
}
