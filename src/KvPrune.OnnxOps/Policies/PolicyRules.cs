namespace KvPrune.OnnxOps;

/// <summary>What a policy must fulfil: the ranges of its properties, and what cannot be combined.</summary>
internal static class PolicyRules
{
    private const double SteepestPyramid = 1e6;

    /// <inheritdoc cref="PruningPolicy.Validate" path="/exception"/>
    public static void Check(PruningPolicy policy)
    {
        CheckEntries(policy);
        CheckLayers(policy.Layers);
        if (policy.Eviction is { } eviction)
            CheckEviction(eviction);
        CheckCombinations(policy);
    }

    private static void CheckEntries(PruningPolicy policy)
    {
        RequireMember(policy.KeyStorage, nameof(policy.KeyStorage));
        RequireMember(policy.ValueStorage, nameof(policy.ValueStorage));
        RequireMember(policy.KeyPattern, nameof(policy.KeyPattern));
        RequireMember(policy.ValuePattern, nameof(policy.ValuePattern));
        RequireMember(policy.KeyScore, nameof(policy.KeyScore));
        RequireMember(policy.ValueScore, nameof(policy.ValueScore));
        RequireFraction(policy.KeyChannelSparsity, nameof(policy.KeyChannelSparsity));
        RequireFraction(policy.ValueChannelSparsity, nameof(policy.ValueChannelSparsity));
        RequireFraction(policy.KeySparsity, nameof(policy.KeySparsity));
        RequireFraction(policy.ValueSparsity, nameof(policy.ValueSparsity));
        RequireTokens(policy.RecentWindow, 0, nameof(policy.RecentWindow));
        RequireTokens(policy.ObservationWindow, 1, nameof(policy.ObservationWindow));
        if (policy.OutputError is { } error)
        {
            Require(
                (float)error > 0 && (float)error < 1,
                nameof(policy.OutputError),
                error,
                "is a relative error and must be more than 0 and less than 1");
        }
    }

    private static void CheckLayers(LayerSparsities layers)
    {
        foreach (var (index, layer) in layers.Index())
        {
            Override(layer.KeyChannelSparsity, nameof(layer.KeyChannelSparsity));
            Override(layer.ValueChannelSparsity, nameof(layer.ValueChannelSparsity));
            Override(layer.KeySparsity, nameof(layer.KeySparsity));
            Override(layer.ValueSparsity, nameof(layer.ValueSparsity));
            Override(layer.TokenSparsity, nameof(layer.TokenSparsity));
            void Override(double? value, string name)
            {
                if (value is { } fraction)
                    RequireFraction(fraction, $"{nameof(PruningPolicy.Layers)}[{index}].{name}");
            }
        }
    }

    private static void CheckEviction(TokenEviction eviction)
    {
        static string Name(string property) => $"{nameof(PruningPolicy.Eviction)}.{property}";
        RequireMember(eviction.Score, Name(nameof(eviction.Score)));
        RequireFraction(eviction.Sparsity, Name(nameof(eviction.Sparsity)));
        Require(
            eviction.TokenBudget is null or >= 1, Name(nameof(eviction.TokenBudget)), eviction.TokenBudget, "must be at least 1 token");
        RequireTokens(eviction.SinkTokens, 0, Name(nameof(eviction.SinkTokens)));
        RequireTokens(eviction.PoolKernel, 1, Name(nameof(eviction.PoolKernel)));
        Require(
            eviction.PoolKernel % 2 == 1,
            Name(nameof(eviction.PoolKernel)),
            eviction.PoolKernel,
            "must be odd, so that a token is in the middle of its pool");
        Require(
            eviction.PyramidSlope is 0 or (>= 1 and <= SteepestPyramid),
            Name(nameof(eviction.PyramidSlope)),
            eviction.PyramidSlope,
            $"must be 0 for none, or from 1 to {SteepestPyramid}");
        RequireMember(eviction.Heads, Name(nameof(eviction.Heads)));
        Require(eviction.HeadFloor is >= 0 and <= 1, Name(nameof(eviction.HeadFloor)), eviction.HeadFloor, "must be from 0 to 1");
    }

    private static void CheckCombinations(PruningPolicy policy)
    {
        Exclude(
            policy is { ValueScore: ValueScore.Attention, ValuePattern: SparsityPattern.PerToken },
            "ValueScore.Attention is one factor for a whole V row, which leaves the order within the row as it is. It needs " +
            "ValuePattern = PerChannel.",
            nameof(policy.ValueScore));
        Exclude(
            policy is { ValueScore: ValueScore.OutputWeight, ValuePattern: SparsityPattern.PerChannel },
            "ValueScore.OutputWeight is one factor for a whole V channel, which leaves the order within the channel as it is. " +
            "It needs ValuePattern = PerToken.",
            nameof(policy.ValueScore));
        Exclude(
            policy.KeyScore != KeyScore.Magnitude && policy.KeyPattern == SparsityPattern.PerChannel,
            $"KeyScore.{policy.KeyScore} is one factor for a whole K channel, which leaves the order within the channel as it is. " +
            "It needs KeyPattern = PerToken.",
            nameof(policy.KeyScore));
        Exclude(
            policy.OutputError is not null && RemovesEntries(policy),
            "OutputError chooses how many channels and elements are removed, so their sparsities must be 0.",
            nameof(policy.OutputError));
        var tokensPerLayer = policy.Layers.Any(layer => layer.TokenSparsity is not null);
        if (policy.Eviction is not { } eviction)
        {
            Exclude(
                tokensPerLayer, "A layer's TokenSparsity needs an Eviction that chooses the tokens.", nameof(policy.Layers));
            return;
        }

        const string Name = nameof(policy.Eviction);
        Exclude(
            eviction.TokenBudget is not null && (eviction.Sparsity > 0 || tokensPerLayer),
            "TokenBudget replaces the fraction of tokens, so only one of them may be set.",
            Name);
        Exclude(
            eviction.PyramidSlope > 0 && tokensPerLayer,
            "PyramidSlope and a TokenSparsity per layer both set the layers' budgets.",
            Name);
        Exclude(
            eviction.Heads == HeadBudgets.Global && (eviction.PyramidSlope > 0 || tokensPerLayer),
            "HeadBudgets.Global leaves the layers' budgets to the scores, so neither PyramidSlope nor a TokenSparsity per " +
            "layer can set them.",
            Name);
        var recency = eviction.Score == TokenScore.Recency;
        Exclude(
            recency && eviction.Heads != HeadBudgets.Uniform,
            "By recency every head keeps the same tokens, so Heads must be Uniform.",
            Name);
        Exclude(
            recency && (eviction.WeighByValue || eviction.SecondStage),
            "Recency is an order without weights, which WeighByValue and SecondStage need.",
            Name);
        Exclude(
            eviction is { WeighByValue: true, SecondStage: true },
            "WeighByValue makes both halves of SecondStage the same.",
            Name);
        if (eviction.WhileDecoding)
            CheckWhileDecoding(eviction);
    }

    private static void CheckWhileDecoding(TokenEviction eviction)
    {
        const string Name = nameof(PruningPolicy.Eviction);
        Exclude(
            eviction.Score is not (TokenScore.Recency or TokenScore.AccumulatedAttention),
            $"TokenScore.{eviction.Score} knows the prompt's queries only. WhileDecoding needs Recency or AccumulatedAttention.",
            Name);
        Exclude(
            eviction.WeighByValue || eviction.SecondStage,
            "WhileDecoding ranks rows whose values are compressed, so neither WeighByValue nor SecondStage can weigh them.",
            Name);
        Exclude(
            eviction.Heads == HeadBudgets.Global,
            "HeadBudgets.Global divides a document's tokens among the layers once, so WhileDecoding would undo it.",
            Name);
    }

    private static bool RemovesEntries(PruningPolicy policy) =>
        policy.KeyChannelSparsity > 0 || policy.ValueChannelSparsity > 0 || policy.KeySparsity > 0 || policy.ValueSparsity > 0 ||
        policy.Layers.Any(layer =>
            layer.KeyChannelSparsity > 0 || layer.ValueChannelSparsity > 0 || layer.KeySparsity > 0 || layer.ValueSparsity > 0);

    private static void Exclude(bool clash, string reason, string name)
    {
        if (clash)
            throw new ArgumentException(reason, name);
    }

    private static void RequireMember<T>(T value, string name)
        where T : struct, Enum =>
        Require(Enum.IsDefined(value), name, value, $"must be one of {string.Join(", ", Enum.GetNames<T>())}");

    // The native side computes in single precision, where a fraction just below 1 becomes 1.
    private static void RequireFraction(double value, string name) => Require(
        value >= 0 && (float)value < 1, name, value, "is the fraction removed and must be at least 0 and less than 1");

    private static void RequireTokens(int value, int least, string name) => Require(
        value >= least && value <= PruningPolicy.MaxWindow, name, value, $"must be from {least} to {PruningPolicy.MaxWindow} tokens");

    // Conditions are written so that NaN fails them.
    private static void Require(bool holds, string name, object? value, string rule)
    {
        if (!holds)
            throw new ArgumentOutOfRangeException(name, value, $"{name} {rule}.");
    }
}
