using KvPrune.AI.Engine;
using KvPrune.AI.Sampling;
using KvPrune.OnnxOps;
using Microsoft.Extensions.AI;
using Microsoft.Extensions.Logging;

namespace KvPrune.AI.Tests.Engine;

public class SchedulerTests
{
    [Theory]
    [InlineData(1)]
    [InlineData(3)]
    [InlineData(int.MaxValue)]
    public async Task Concurrent_requests_get_what_each_gets_alone(int maxDecodeBatch)
    {
        using var engine = new ToyEngine(new ToyRuntime { MaxDecodeBatch = maxDecodeBatch }, cachedPrompts: 3);
        var random = new Random(1);
        int[] shared = Tokens(random, 50);
        GenerationRequest[] requests = [.. Enumerable.Range(0, 60).Select(i =>
        {
            int[] prompt = [.. shared[..random.Next(1, 50)], .. Tokens(random, random.Next(0, 40))];
            int[] ends = random.Next(2) == 0 || prompt.Length < 2 ? [prompt.Length] : [random.Next(1, prompt.Length), prompt.Length];
            return ToyEngine.Request(prompt, ends, i % 3 == 0 ? PruningPolicy.Compact : null, random.Next(1, 60));
        })];
        ToyEngine.Answer[] answers = await Task.WhenAll(requests.Select(request => Task.Run(() => engine.AskAsync(request))));
        for (int i = 0; i < requests.Length; i++)
        {
            Assert.Equal(ToyEngine.Expected(requests[i]), answers[i].Text);
            bool full = answers[i].Text.Length == requests[i].MaxOutputTokens;
            Assert.Equal(full ? ChatFinishReason.Length : ChatFinishReason.Stop, answers[i].Reason);
            Assert.Equal(answers[i].Text.Length + (full ? 0 : 1), answers[i].Statistics.GeneratedTokens);
        }
        int largest = engine.Runtime.Steps.Max(step => step.Sequences.Length);
        Assert.True(largest > 1 == maxDecodeBatch > 1, $"the largest decode batch was {largest}");
    }

    [Fact]
    public async Task Penalties_count_the_prompt_and_every_token_drawn_also_after_a_cached_prompt()
    {
        using var engine = new ToyEngine(new ToyRuntime(), cachedPrompts: 2);
        int[] prompt = Tokens(new Random(6), 30);
        var penalised = SamplingOptions.Greedy with { RepetitionPenalty = 1000 };
        for (int round = 0; round < 2; round++)
        {
            string text = (await engine.AskAsync(ToyEngine.Request(prompt, maxTokens: 25, sampling: penalised))).Text;
            Assert.Equal(text.Length, text.Distinct().Count());
            Assert.Empty(text.Intersect(ToyEngine.Letters(prompt)));
            GenerationRequest plain = ToyEngine.Request(prompt, maxTokens: 25);
            Assert.Equal(ToyEngine.Expected(plain), (await engine.AskAsync(plain)).Text);
        }
    }

    [Fact]
    public async Task A_guided_sampler_draws_its_answer_and_is_given_back_however_the_request_ends()
    {
        using var engine = new ToyEngine(new ToyRuntime());
        using var drawing = new FixedSampler([7, 8, 9, ToyRuntime.EndToken]);
        Assert.Equal(ToyEngine.Letters([7, 8, 9]), (await engine.AskAsync(ToyEngine.Request([1, 2, 3], guided: drawing))).Text);
        Assert.True(drawing.IsDisposed);

        using var failing = new FixedSampler([7]);
        await Assert.ThrowsAsync<GenerationException>(() => engine.AskAsync(ToyEngine.Request([1, 2, 3], guided: failing)));
        Assert.True(failing.IsDisposed);

        using var waiting = new FixedSampler([7]);
        using var cancelled = new CancellationTokenSource();
        await cancelled.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => engine.AskAsync(ToyEngine.Request([1, 2, 3], guided: waiting, cancellation: cancelled.Token)));
        Assert.True(waiting.IsDisposed);

        using var refused = new FixedSampler([7]);
        Assert.Throws<PromptTooLongException>(() => engine.Submit(ToyEngine.Request(new int[20_000], guided: refused)));
        Assert.False(refused.IsDisposed); // it stays the caller's
    }

    private sealed class FixedSampler(int[] tokens) : IGuidedSampler
    {
        private int _next;

        public bool IsDisposed { get; private set; }

        public int Sample(ReadOnlySpan<float> logits) => tokens[_next++];

        public void Dispose() => IsDisposed = true;
    }

    [Fact]
    public async Task A_prompt_is_read_in_chunks_that_end_at_segment_ends()
    {
        using var engine = new ToyEngine(new ToyRuntime(), chunk: 16);
        var answer = await engine.AskAsync(ToyEngine.Request(Tokens(new Random(2), 45), [20, 45], maxTokens: 1));
        Assert.Equal([16, 4, 16, 9], engine.Runtime.Steps.Where(step => step.IsPrefill).Select(step => step.Tokens.Length));
        Assert.Equal([16, 20, 36, 45], answer.Progress.Select(progress => progress.ReadTokens));
        Assert.All(answer.Progress, progress => Assert.Equal(45, progress.TotalTokens));
    }

    [Fact]
    public async Task Prefill_and_decode_alternate_and_prompts_are_read_one_after_the_other()
    {
        var runtime = new ToyRuntime();
        using var allSubmitted = new ManualResetEventSlim();
        bool othersAreStaged = false;
        runtime.OnStep = step =>
        {
            allSubmitted.Wait();
            if (step.IsPrefill) othersAreStaged |= runtime.GetStatistics().StagingBytes > step.Sequences[0].StagingBytes;
        };
        using var engine = new ToyEngine(runtime, chunk: 4);
        // A prompt whose answer is long enough to run beside the prompts of the others.
        int[] first = ToyEngine.PromptAnswering(40);
        Task<ToyEngine.Answer>[] answers =
        [
            engine.AskAsync(ToyEngine.Request(first, maxTokens: 40)),
            engine.AskAsync(ToyEngine.Request(Tokens(new Random(3), 40), maxTokens: 1)),
            engine.AskAsync(ToyEngine.Request(Tokens(new Random(4), 40), maxTokens: 1)),
        ];
        allSubmitted.Set();
        await Task.WhenAll(answers);
        ToyStep[] steps = [.. runtime.Steps];
        // After the first prompt: one decode step between any two chunks, and the older prompt is read first.
        ToyStep[] chunks = [.. steps.Where(step => step.IsPrefill).Skip(1)];
        Assert.Equal(20, chunks.Length);
        for (int i = 1; i < chunks.Length; i++)
        {
            Assert.Equal(2, Array.IndexOf(steps, chunks[i]) - Array.IndexOf(steps, chunks[i - 1]));
            if (i != 10) Assert.Same(chunks[i].Sequences[0], chunks[i - 1].Sequences[0]);
        }
        Assert.NotSame(chunks[0].Sequences[0], chunks[^1].Sequences[0]);
        Assert.False(othersAreStaged);
    }

    [Fact]
    public async Task The_context_limits_prompt_and_answer_together()
    {
        using var engine = new ToyEngine(new ToyRuntime(), context: 40);
        int[] prompt = ToyEngine.PromptAnswering(20, promptTokens: 30);
        var answer = await engine.AskAsync(ToyEngine.Request(prompt, maxTokens: 20));
        Assert.Equal(10, answer.Text.Length);
        Assert.Equal(ChatFinishReason.Length, answer.Reason);

        var error = Assert.Throws<PromptTooLongException>(() => engine.Submit(ToyEngine.Request(new int[40])));
        Assert.Equal((40, 40), (error.PromptTokens, error.ContextLength));
        Assert.Contains("40", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_stop_string_over_token_borders_ends_the_answer()
    {
        using var engine = new ToyEngine(new ToyRuntime());
        GenerationRequest plain = ToyEngine.Request(ToyEngine.PromptAnswering(12), maxTokens: 12);
        string full = ToyEngine.Expected(plain);
        var answer = await engine.AskAsync(ToyEngine.Request(plain.Prompt, maxTokens: 12, stops: [full[4..7], "no such text"]));
        Assert.Equal(full[..4], answer.Text);
        Assert.Equal(ChatFinishReason.Stop, answer.Reason);
        Assert.Equal(7, answer.Statistics.GeneratedTokens);
    }

    [Fact]
    public async Task A_failed_prefill_fails_its_request_only()
    {
        var runtime = new ToyRuntime();
        runtime.OnStep = step =>
        {
            if (step.IsPrefill && step.Tokens.Contains(63)) throw new InvalidOperationException("chunk refused");
        };
        using var engine = new ToyEngine(runtime, chunk: 4);
        GenerationRequest bad = ToyEngine.Request([1, 2, 3, 4, 5, 63]);
        GenerationRequest good = ToyEngine.Request([1, 2, 3, 4, 5, 6]);
        Task<ToyEngine.Answer> badAnswer = engine.AskAsync(bad), goodAnswer = engine.AskAsync(good);
        var error = await Assert.ThrowsAsync<GenerationException>(() => badAnswer);
        Assert.Contains("chunk refused", error.Message, StringComparison.Ordinal);
        Assert.Contains("4 of 6", error.Message, StringComparison.Ordinal);
        Assert.Equal(ToyEngine.Expected(good), (await goodAnswer).Text);
        Assert.Equal(ToyEngine.Expected(good), (await engine.AskAsync(ToyEngine.Request(good.Prompt))).Text);
    }

    [Fact]
    public async Task A_sequence_that_fails_in_a_batch_fails_alone()
    {
        var runtime = new ToyRuntime();
        using var allSubmitted = new ManualResetEventSlim();
        runtime.OnStep = step =>
        {
            allSubmitted.Wait();
            if (!step.IsPrefill && step.Sequences.Any(s => s.Tokens[0] == 60 && s.Tokens.Count > 12))
                throw new InvalidOperationException("bad row");
        };
        using var engine = new ToyEngine(runtime);
        GenerationRequest[] requests = [.. Enumerable.Range(0, 40).Select(seed =>
            ToyEngine.Request([seed == 5 ? 60 : seed, .. Tokens(new Random(seed), 9)], maxTokens: 30))];
        Assert.True(ToyEngine.Expected(requests[5]).Length > 5);
        Task<ToyEngine.Answer>[] answers = [.. requests.Select(engine.AskAsync)];
        allSubmitted.Set();
        for (int i = 0; i < requests.Length; i++)
        {
            if (i == 5) Assert.Contains("bad row", (await Assert.ThrowsAsync<GenerationException>(() => answers[i])).Message, StringComparison.Ordinal);
            else Assert.Equal(ToyEngine.Expected(requests[i]), (await answers[i]).Text);
        }
    }

    [Fact]
    public async Task Masked_tokens_are_never_drawn_and_cached_logits_are_masked_too()
    {
        int[] masked = [.. Enumerable.Range(30, 34)];
        using var engine = new ToyEngine(new ToyRuntime(), cachedPrompts: 1, masked: masked);
        int[] prompt = ToyEngine.PromptAnswering(20);
        Assert.Contains(ToyRuntime.ExpectedAnswer(prompt, [3], PruningPolicy.Dense, 20), masked.Contains);
        string[] answers = [.. (await Task.WhenAll(
            engine.AskAsync(ToyEngine.Request(prompt)), engine.AskAsync(ToyEngine.Request(prompt)))).Select(answer => answer.Text)];
        Assert.NotEmpty(answers[0]);
        Assert.Equal(answers[0], answers[1]);
        Assert.DoesNotContain(answers[0], letter => masked.Contains(letter - '0'));
    }

    [Fact]
    public async Task A_request_can_have_end_tokens_of_its_own()
    {
        using var engine = new ToyEngine(new ToyRuntime());
        int[] prompt = ToyEngine.PromptAnswering(20);
        int[] tokens = ToyRuntime.ExpectedAnswer(prompt, [3], PruningPolicy.Dense, 20);
        var answer = await engine.AskAsync(ToyEngine.Request(prompt, endTokens: [tokens[6]]));
        Assert.Equal(ToyEngine.Letters(tokens[..Array.IndexOf(tokens, tokens[6])]), answer.Text);
        Assert.Equal(ChatFinishReason.Stop, answer.Reason);
    }

    [Fact]
    public async Task A_loop_that_fails_ends_all_requests_and_says_why_to_later_ones()
    {
        var runtime = new ToyRuntime();
        using var allSubmitted = new ManualResetEventSlim();
        runtime.OnStep = _ => allSubmitted.Wait();
        using var engine = new ToyEngine(runtime, chunk: 4, logger: new ThrowingLogger());
        int[] prompt = ToyEngine.PromptAnswering(40);
        Task<ToyEngine.Answer>[] answers =
        [
            engine.AskAsync(ToyEngine.Request(prompt, maxTokens: 40)),
            engine.AskAsync(ToyEngine.Request(Tokens(new Random(3), 400))),
        ];
        runtime.LoopError = new NotSupportedException("the cause");
        allSubmitted.Set();
        foreach (Task<ToyEngine.Answer> answer in answers)
            Assert.Equal("the cause", (await Assert.ThrowsAsync<GenerationException>(() => answer)).InnerException!.Message);
        Assert.True(SpinWait.SpinUntil(() => engine.Engine.QueuedRequests + engine.Engine.RunningRequests == 0, TimeSpan.FromSeconds(10)));
        Assert.Equal("the cause", Assert.Throws<GenerationException>(() => engine.Submit(ToyEngine.Request([1]))).InnerException!.Message);
    }

    [Fact]
    public async Task A_logger_that_throws_fails_no_request_but_the_one_it_speaks_of()
    {
        var runtime = new ToyRuntime();
        runtime.OnStep = step =>
        {
            if (step.IsPrefill && step.Tokens.Contains(63)) throw new InvalidOperationException("chunk refused");
        };
        using var engine = new ToyEngine(runtime, logger: new ThrowingLogger());
        GenerationRequest good = ToyEngine.Request([1, 2, 3]);
        Task<ToyEngine.Answer> bad = engine.AskAsync(ToyEngine.Request([63])), answer = engine.AskAsync(good);
        Assert.Contains("chunk refused", (await Assert.ThrowsAsync<GenerationException>(() => bad)).Message, StringComparison.Ordinal);
        Assert.Equal(ToyEngine.Expected(good), (await answer).Text);
    }

    [Fact]
    public async Task Broken_logits_fail_their_request_only()
    {
        using var engine = new ToyEngine(new ToyRuntime { PoisonToken = 63 });
        GenerationRequest good = ToyEngine.Request([1, 2, 3], maxTokens: 3);
        Task<ToyEngine.Answer> bad = engine.AskAsync(ToyEngine.Request([4, 63])), answer = engine.AskAsync(good);
        Assert.Contains("token 5", (await Assert.ThrowsAsync<GenerationException>(() => bad)).Message, StringComparison.Ordinal);
        Assert.Equal(ToyEngine.Expected(good), (await answer).Text);
    }

    [Fact]
    public async Task Disposal_stops_the_running_step_and_fails_what_is_unfinished()
    {
        var runtime = new ToyRuntime { OnStep = step => step.Cancellation.WaitHandle.WaitOne() };
        var engine = new ToyEngine(runtime);
        Task<ToyEngine.Answer>[] answers =
            [engine.AskAsync(ToyEngine.Request([1, 2])), engine.AskAsync(ToyEngine.Request([3, 4]))];
        SpinWait.SpinUntil(() => !runtime.Steps.IsEmpty, TimeSpan.FromSeconds(10));
        engine.Dispose();
        foreach (Task<ToyEngine.Answer> answer in answers) await Assert.ThrowsAsync<ObjectDisposedException>(() => answer);
        Assert.Throws<ObjectDisposedException>(() => engine.Submit(ToyEngine.Request([5])));
    }

    private sealed class ThrowingLogger : ILogger
    {
        public IDisposable? BeginScope<TState>(TState state) where TState : notnull => null;

        public bool IsEnabled(LogLevel logLevel) => true;

        public void Log<TState>(
            LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter) =>
            throw new InvalidOperationException("The log is full.");
    }

    private static int[] Tokens(Random random, int count) => [.. Enumerable.Range(0, count).Select(_ => random.Next(1, 63))];
}
