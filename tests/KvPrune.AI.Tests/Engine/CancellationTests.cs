using KvPrune.AI.Engine;

namespace KvPrune.AI.Tests.Engine;

public class CancellationTests
{
    [Fact]
    public async Task A_running_prefill_is_stopped_and_the_engine_goes_on()
    {
        var runtime = new ToyRuntime();
        runtime.OnStep = step =>
        {
            if (step.IsPrefill && step.Tokens[0] == 63) step.Cancellation.WaitHandle.WaitOne(TimeSpan.FromSeconds(20));
        };
        using var engine = new ToyEngine(runtime);
        using var cancellation = new CancellationTokenSource();
        Task<ToyEngine.Answer> cancelled = engine.AskAsync(ToyEngine.Request([63, 1, 2], cancellation: cancellation.Token));
        Assert.True(SpinWait.SpinUntil(() => !runtime.Steps.IsEmpty, TimeSpan.FromSeconds(10)));
        GenerationRequest other = ToyEngine.Request([4, 5, 6]);
        Task<ToyEngine.Answer> answer = engine.AskAsync(other);
        await cancellation.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => cancelled);
        Assert.Equal(ToyEngine.Expected(other), (await answer).Text);
    }

    [Fact]
    public async Task Cancelling_takes_effect_within_one_decode_step()
    {
        using var cancellation = new CancellationTokenSource();
        var runtime = new ToyRuntime();
        int decodeSteps = 0;
        runtime.OnStep = step =>
        {
            if (!step.IsPrefill && ++decodeSteps == 3) cancellation.Cancel();
        };
        using var engine = new ToyEngine(runtime);
        int[] prompt = ToyEngine.PromptAnswering(30);
        await Assert.ThrowsAnyAsync<OperationCanceledException>(
            () => engine.AskAsync(ToyEngine.Request(prompt, maxTokens: 30, cancellation: cancellation.Token)));
        Assert.Equal(3, decodeSteps);
        await engine.AskAsync(ToyEngine.Request(prompt, maxTokens: 30));
    }

    [Fact]
    public async Task A_queued_request_can_be_cancelled()
    {
        // Room for one prompt at a time; the first one holds it until the second was cancelled.
        var runtime = new ToyRuntime { ByteLimit = 20 * ToyRuntime.StagedTokenBytes };
        using var release = new ManualResetEventSlim();
        runtime.OnStep = _ => release.Wait(TimeSpan.FromSeconds(20));
        using var engine = new ToyEngine(runtime);
        using var cancellation = new CancellationTokenSource();
        Task<ToyEngine.Answer> first = engine.AskAsync(ToyEngine.Request([.. Enumerable.Range(1, 15)]));
        Task<ToyEngine.Answer> queued = engine.AskAsync(ToyEngine.Request([.. Enumerable.Range(2, 15)], cancellation: cancellation.Token));
        await cancellation.CancelAsync();
        release.Set();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => queued);
        await first;
        Assert.DoesNotContain(runtime.Steps, step => step.IsPrefill && step.Tokens[0] == 2);
    }
}
