using KvPrune.AI.Chat;
using KvPrune.OnnxOps;
using Microsoft.Extensions.AI;

namespace KvPrune.AI.Tests.Chat;

/// <summary>The chat on a machine whose CPU lacks the newest instructions. Kernels are a choice for the whole process.</summary>
[Collection(Name)]
[CollectionDefinition(Name, DisableParallelization = true)]
public sealed class KernelTests : IDisposable
{
    public const string Name = "chooses kernels";

    private static readonly FactDocument Document = FactDocument.Create(seed: 51, sentences: 25, facts: 2);

    public void Dispose() => KvPruneOps.UseKernels(null);

    [Theory]
    [InlineData("dense")]
    [InlineData("compact")]
    public async Task All_kernels_give_the_same_answers(string policy)
    {
        string[] best = await Converse(policy);
        Assert.Equal(Document.Facts.Select(fact => fact.Answer), best.Select(answer => answer.Trim()));
        foreach (string kernels in new[] { "scalar", "avx2" })
        {
            if (!TryUse(kernels)) continue;
            Assert.Equal(kernels, KvPruneOps.Kernels);
            Assert.Equal(best, await Converse(policy));
        }
        Assert.True(TryUse("scalar"));
    }

    [Fact]
    public void Kernels_that_do_not_exist_are_refused_by_name()
    {
        string before = KvPruneOps.Kernels;
        var error = Assert.Throws<KvCacheException>(() => KvPruneOps.UseKernels("sse9"));
        Assert.Equal(KvCacheStatus.Unsupported, error.Status);
        Assert.Contains("no kernels 'sse9'", error.Message, StringComparison.Ordinal);
        Assert.Equal(before, KvPruneOps.Kernels);
    }

    // A question, and a second one after the first's answer: prompt, decoding, and a prompt over sealed tiles.
    private static async Task<string[]> Converse(string policy)
    {
        using KvPrunedChatClient client = BundledClient.Load(o => o.Policy = PruningPolicy.FromName(policy));
        List<ChatMessage> messages = [new(ChatRole.User, Document.Ask(Document.Facts[0]))];
        var options = new ChatOptions { MaxOutputTokens = 40, Temperature = 0 };
        ChatResponse first = await client.GetResponseAsync(messages, options);
        messages.AddRange(first.Messages);
        messages.Add(new(ChatRole.User, Document.Facts[1].Question));
        ChatResponse second = await client.GetResponseAsync(messages, options);
        Assert.True(second.Usage!.CachedInputTokenCount > 300);
        return [first.Text, second.Text];
    }

    private static bool TryUse(string kernels)
    {
        try
        {
            KvPruneOps.UseKernels(kernels);
            return true;
        }
        catch (KvCacheException error) when (error.Status == KvCacheStatus.Unsupported)
        {
            Assert.Contains($"this CPU cannot run the kernels '{kernels}'", error.Message, StringComparison.Ordinal);
            return false;
        }
    }
}
