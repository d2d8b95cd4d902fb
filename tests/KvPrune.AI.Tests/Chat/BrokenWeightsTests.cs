using KvPrune.AI.Chat;
using KvPrune.AI.Engine;
using KvPrune.AI.Tests.Runtimes.GenAI;
using KvPrune.OnnxOps;
using Microsoft.Extensions.AI;

namespace KvPrune.AI.Tests.Chat;

/// <summary>A model that computes NaN or infinities fails its requests by name; no cache is made of them.</summary>
public sealed class BrokenWeightsTests
{
    private static readonly FactDocument Document = FactDocument.Create(seed: 5, sentences: 10, facts: 2);

    private static readonly TimeSpan Limit = TimeSpan.FromSeconds(30);

    [Theory]
    [InlineData("model.layers.2.attn.v_proj.MatMul.weight", float.NaN, "layer 2: the value of token 0")]
    [InlineData("model.layers.4.attn.k_proj.MatMul.weight", float.PositiveInfinity, "layer 4: the key of token 0")]
    // ONNX Runtime's attention makes numbers of such a query.
    [InlineData("model.layers.0.attn.q_proj.MatMul.weight", float.NaN, "layer 0: the query of token 0")]
    [InlineData("model.layers.1.mlp.down_proj.MatMul.weight", float.NegativeInfinity, "layer 2: the key of token 0")]
    public async Task What_is_not_finite_is_named_by_layer_and_token(string weight, float value, string culprit)
    {
        using AlteredFolder folder = new AlteredFolder().Poison(weight, value);
        using KvPrunedChatClient client = BundledClient.Load(o => o.ModelPath = folder.Path);
        foreach (PruningPolicy policy in (PruningPolicy[])[PruningPolicy.Exact, PruningPolicy.Compact, PruningPolicy.Extreme, Evicting()])
        {
            var options = new ChatOptions().WithPruningPolicy(policy);
            // The second meets what the first has left, if it left anything.
            for (int i = 0; i < 2; i++)
            {
                var error = await Assert.ThrowsAsync<GenerationException>(
                    () => client.GetResponseAsync(Document.Ask(Document.Facts[i]), options).WaitAsync(Limit));
                Assert.Contains(culprit, error.Message);
                Assert.Equal(KvCacheStatus.InvalidArgument, Assert.IsType<KvCacheException>(error.InnerException).Status);
            }
        }
        var engine = client.GetService<InferenceEngine>()!;
        Assert.Equal((0, 0), (engine.RunningRequests, engine.QueuedRequests));
        Assert.Equal(0, engine.GetCacheStatistics().TotalBytes);
    }

    private static PruningPolicy Evicting() => new() { Eviction = new() { Sparsity = 0.5 } };
}
