using KvPrune.AI.Engine;

namespace KvPrune.AI.Tests.Engine;

public class AdmissionTests
{
    [Fact]
    public async Task Requests_that_do_not_fit_together_wait_and_the_limit_holds()
    {
        const long limit = 100 * ToyRuntime.StagedTokenBytes;
        var runtime = new ToyRuntime { ByteLimit = limit };
        using var engine = new ToyEngine(runtime, cachedPrompts: 3);
        var random = new Random(1);
        GenerationRequest[] requests = [.. Enumerable.Range(0, 40).Select(_ => ToyEngine.Request(
            [.. Enumerable.Range(0, random.Next(1, 80)).Select(_ => random.Next(1, 63))], maxTokens: random.Next(1, 50)))];
        ToyEngine.Answer[] answers = await Task.WhenAll(requests.Select(engine.AskAsync));
        for (int i = 0; i < requests.Length; i++) Assert.Equal(ToyEngine.Expected(requests[i]), answers[i].Text);
        Assert.InRange(runtime.PeakBytes, limit / 2, limit);
        Assert.Equal((0, 0), (engine.Engine.RunningRequests, engine.Engine.QueuedRequests));
    }

    [Fact]
    public async Task A_request_that_can_never_fit_is_refused_with_the_numbers()
    {
        const long limit = 10 * ToyRuntime.StagedTokenBytes;
        using var engine = new ToyEngine(new ToyRuntime { ByteLimit = limit });
        var error = Assert.Throws<KvBudgetExceededException>(
            () => engine.Submit(ToyEngine.Request([.. Enumerable.Range(1, 11)])));
        Assert.Equal((11 * ToyRuntime.StagedTokenBytes, limit), (error.RequiredBytes, error.LimitBytes));
        Assert.Throws<KvBudgetExceededException>(() => engine.Submit(ToyEngine.Request([1], maxTokens: 1_000)));
        GenerationRequest fitting = ToyEngine.Request([.. Enumerable.Range(1, 10)]);
        Assert.Equal(ToyEngine.Expected(fitting), (await engine.AskAsync(fitting)).Text);
    }

    [Fact]
    public async Task Cached_prompts_count_and_go_when_their_memory_is_needed()
    {
        const long limit = 40 * ToyRuntime.StagedTokenBytes;
        var runtime = new ToyRuntime { ByteLimit = limit };
        using var engine = new ToyEngine(runtime, cachedPrompts: 8);
        for (int first = 1; first <= 8; first++)
        {
            GenerationRequest request = ToyEngine.Request([.. Enumerable.Range(first, 30)], maxTokens: 2);
            Assert.Equal(ToyEngine.Expected(request), (await engine.AskAsync(request)).Text);
        }
        Assert.InRange(runtime.SequencesAlive, 1, 3);
        Assert.InRange(runtime.PeakBytes, 0, limit);
        Assert.Equal(30, (await engine.AskAsync(ToyEngine.Request([.. Enumerable.Range(8, 30)]))).Statistics.CachedTokens);
    }

    [Fact]
    public async Task Memory_that_runs_short_in_a_step_is_taken_from_cached_prompts()
    {
        // The engine believes that it has no limit; the cache behind it does.
        var runtime = new ToyRuntime();
        using var engine = new ToyEngine(runtime, cachedPrompts: 2);
        await engine.AskAsync(ToyEngine.Request([1, 2, 3], maxTokens: 1));
        Assert.Equal(1, runtime.SequencesAlive);
        bool short_ = true;
        runtime.OnStep = _ =>
        {
            if (short_ && runtime.SequencesAlive > 1)
                throw new OnnxOps.KvCacheException(OnnxOps.KvCacheStatus.OutOfMemory, "no memory");
            short_ = false;
        };
        GenerationRequest request = ToyEngine.Request([4, 5, 6]);
        Assert.Equal(ToyEngine.Expected(request), (await engine.AskAsync(request)).Text);
        Assert.Equal(0, (await engine.AskAsync(ToyEngine.Request([1, 2, 3]))).Statistics.CachedTokens);
    }

    [Fact]
    public async Task A_segment_lost_to_short_memory_is_read_again()
    {
        var runtime = new ToyRuntime();
        using var engine = new ToyEngine(runtime, chunk: 10, cachedPrompts: 2);
        await engine.AskAsync(ToyEngine.Request([1, 2, 3], maxTokens: 1));
        bool failed = false;
        runtime.OnStep = step =>
        {
            // The last chunk of the second segment.
            if (failed || !step.IsPrefill || step.Sequences[0].Tokens.Count != 35) return;
            failed = true;
            step.Sequences[0].DropSegment();
            throw new OnnxOps.KvCacheException(OnnxOps.KvCacheStatus.OutOfMemory, "no memory");
        };
        GenerationRequest request = ToyEngine.Request([.. Enumerable.Range(1, 45)], ends: [15, 45]);
        Assert.Equal(ToyEngine.Expected(request), (await engine.AskAsync(request)).Text);
        Assert.True(failed);
    }
}
