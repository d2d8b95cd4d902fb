using KvPrune.AI.Engine;
using KvPrune.OnnxOps;

namespace KvPrune.AI.Tests.Engine;

public class DeferredDocumentTests
{
    private static readonly int[] Instruction = [61, 62];
    private static readonly PruningPolicy KvZip = new() { Eviction = new() { Score = TokenScore.Reconstruction, Sparsity = 0.5 } };
    private static readonly PruningPolicy SharedBudget = new()
    {
        Eviction = new() { Score = TokenScore.AccumulatedAttention, Sparsity = 0.5, Heads = HeadBudgets.Global },
    };
    private static readonly int[] Prompt = [.. Enumerable.Range(0, 330).Select(i => 1 + (i * 7 % 60))];

    [Fact]
    public async Task A_document_is_repeated_in_parts_once_it_was_read()
    {
        using var engine = new ToyEngine(new ToyRuntime(), chunk: 100, cachedPrompts: 4, instruction: Instruction);
        GenerationRequest request = ToyEngine.Request(Prompt, [250, 330], KvZip);
        ToyEngine.Answer cold = await engine.AskAsync(request);
        Assert.Equal(ToyEngine.Expected(request), cold.Text);
        ToyStep[] read = [.. engine.Runtime.Steps.Where(step => step.IsPrefill)];
        Assert.Equal([false, false, false, true, true, true, false], read.Select(step => step.IsProbe));
        Assert.Equal([.. Instruction, .. Prompt[..100]], read[3].Tokens);
        Assert.Equal([.. Instruction, .. Prompt[92..200]], read[4].Tokens);
        Assert.Equal([.. Instruction, .. Prompt[192..250]], read[5].Tokens);
        Assert.Equal([100, 200, 250, 350, 450, 500, 580], cold.Progress.Select(progress => progress.ReadTokens));
        Assert.All(cold.Progress, progress => Assert.Equal(580, progress.TotalTokens));

        GenerationRequest other = ToyEngine.Request([.. Prompt[..250], 5, 6], [250, 252], KvZip);
        ToyEngine.Answer warm = await engine.AskAsync(other);
        Assert.Equal((250, ToyEngine.Expected(other)), (warm.Statistics.CachedTokens, warm.Text));
        Assert.Equal([new(500, 502), new(502, 502)], warm.Progress);
        Assert.Equal(3, engine.Runtime.Steps.Count(step => step.IsProbe));
    }

    [Fact]
    public async Task A_whole_prompt_is_the_document_where_there_is_none()
    {
        using var engine = new ToyEngine(new ToyRuntime(), chunk: 100, instruction: Instruction);
        foreach (PruningPolicy policy in new[] { KvZip, SharedBudget })
        {
            GenerationRequest request = ToyEngine.Request(Prompt, policy: policy);
            Assert.Equal(ToyEngine.Expected(request), (await engine.AskAsync(request)).Text);
        }
        Assert.Equal(4, engine.Runtime.Steps.Count(step => step.IsProbe)); // only KVzip's
    }

    [Fact]
    public async Task A_document_that_fits_into_the_tail_is_not_repeated()
    {
        using var engine = new ToyEngine(new ToyRuntime(), instruction: Instruction);
        foreach (int tokens in new[] { 95, 96 })
        {
            GenerationRequest request = ToyEngine.Request(Prompt[..200], [tokens, 200], KvZip);
            Assert.Equal(ToyEngine.Expected(request), (await engine.AskAsync(request)).Text);
            Assert.Equal(tokens == 96, engine.Runtime.Steps.Any(step => step.IsProbe));
        }
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    public async Task Cancelling_takes_effect_within_one_probe(int probe)
    {
        using var cancellation = new CancellationTokenSource();
        var runtime = new ToyRuntime();
        int probes = 0;
        runtime.OnStep = step =>
        {
            if (step.IsProbe && ++probes == probe) cancellation.Cancel();
        };
        using var engine = new ToyEngine(runtime, chunk: 100, cachedPrompts: 4, instruction: Instruction);
        await Assert.ThrowsAnyAsync<OperationCanceledException>(
            () => engine.AskAsync(ToyEngine.Request(Prompt, policy: KvZip, cancellation: cancellation.Token)));
        Assert.Equal((probe, 0), (probes, runtime.SequencesAlive));
        GenerationRequest next = ToyEngine.Request(Prompt, policy: KvZip);
        Assert.Equal(ToyEngine.Expected(next), (await engine.AskAsync(next)).Text);
    }

    [Fact]
    public async Task A_context_without_room_takes_smaller_parts_and_then_refuses()
    {
        const int most = 250 + 2 + 8; // the document, the instruction and what is repeated before a part
        using (var engine = new ToyEngine(new ToyRuntime(), context: most + 80, chunk: 100, instruction: Instruction))
        {
            GenerationRequest request = ToyEngine.Request(Prompt[..255], [250, 255], KvZip, maxTokens: 3);
            Assert.Equal(ToyEngine.Expected(request), (await engine.AskAsync(request)).Text);
            Assert.Equal(4, engine.Runtime.Steps.Count(step => step.IsProbe)); // of 80, 80, 80 and 10 tokens
        }
        using var tight = new ToyEngine(new ToyRuntime(), context: most + 63, chunk: 100, instruction: Instruction);
        var error = Assert.Throws<PromptTooLongException>(() => tight.Submit(ToyEngine.Request(Prompt[..255], [250, 255], KvZip)));
        Assert.Equal((250, most + 63), (error.PromptTokens, error.ContextLength));
        Assert.Contains("repeats at least 74", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Memory_that_runs_short_in_the_repetition_is_taken_from_cached_prompts()
    {
        var runtime = new ToyRuntime();
        using var engine = new ToyEngine(runtime, chunk: 100, cachedPrompts: 2, instruction: Instruction);
        await engine.AskAsync(ToyEngine.Request([1, 2, 3], maxTokens: 1));
        bool wasShort = false;
        runtime.OnStep = step =>
        {
            if (!step.IsProbe || wasShort) return;
            wasShort = true;
            throw new KvCacheException(KvCacheStatus.OutOfMemory, "no memory");
        };
        GenerationRequest request = ToyEngine.Request(Prompt, [250, 330], KvZip);
        Assert.Equal(ToyEngine.Expected(request), (await engine.AskAsync(request)).Text);
        Assert.Equal((true, 4), (wasShort, runtime.Steps.Count(step => step.IsProbe)));
    }

    [Fact]
    public async Task Admission_counts_the_dense_document_and_its_probes()
    {
        const long needed = (250 * ToyRuntime.TokenBytes) + ((250 + 110) * ToyRuntime.StagedTokenBytes);
        using var engine = new ToyEngine(new ToyRuntime { ByteLimit = needed }, chunk: 100, instruction: Instruction);
        GenerationRequest request = ToyEngine.Request(Prompt[..250], policy: KvZip, maxTokens: 2);
        Assert.Equal(ToyEngine.Expected(request), (await engine.AskAsync(request)).Text);
        Assert.Equal(needed, engine.Runtime.PeakBytes);
        using var tight = new ToyEngine(new ToyRuntime { ByteLimit = needed - 1 }, chunk: 100, instruction: Instruction);
        var error = Assert.Throws<KvBudgetExceededException>(() => tight.Submit(ToyEngine.Request(Prompt[..250], policy: KvZip)));
        Assert.Equal(needed, error.RequiredBytes);
    }
}
