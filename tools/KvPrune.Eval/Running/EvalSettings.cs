using KvPrune.Eval.Methods;

namespace KvPrune.Eval.Running;

/// <summary>What is to be measured.</summary>
internal sealed record EvalSettings
{
    /// <summary>The baseline first.</summary>
    public required IReadOnlyList<Method> Methods { get; init; }

    /// <summary>Names of tasks, perplexity and drift among them.</summary>
    public required IReadOnlyList<string> Tasks { get; init; }

    /// <summary>Tokens of prompts.</summary>
    public required IReadOnlyList<int> Lengths { get; init; }

    /// <summary>Samples of each task and length.</summary>
    public required int Samples { get; init; }

    /// <summary>Continuations for drift.</summary>
    public required int DriftSamples { get; init; }

    /// <summary>Tokens of a continuation; null: up to the model's context.</summary>
    public required int? DriftTokens { get; init; }

    public required IReadOnlyList<AskMode> Modes { get; init; }

    public required int Seed { get; init; }
}
