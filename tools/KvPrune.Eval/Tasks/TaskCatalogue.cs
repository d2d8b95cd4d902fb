using System.Collections.Immutable;

namespace KvPrune.Eval.Tasks;

/// <summary>The tasks that ask for answers.</summary>
internal static class TaskCatalogue
{
    public static IReadOnlyList<IEvalTask> Create(SourceText text) =>
    [
        new HiddenFacts("single-needle", text, NeedleTasks.SingleNeedle),
        new HiddenFacts("multi-key", text, NeedleTasks.MultiKey),
        new HiddenFacts("multi-value", text, NeedleTasks.MultiValue),
        new HiddenFacts("multi-query", text, NeedleTasks.MultiQuery),
        new HiddenFacts("variables-1-hop", text, random => VariableTracking.Create(random, hops: 1), OwnLines: true),
        new HiddenFacts("variables-2-hops", text, random => VariableTracking.Create(random, hops: 2), OwnLines: true),
        WordCounting.CommonWords,
        WordCounting.FrequentWords,
    ];

    /// <summary>Their names.</summary>
    public static ImmutableArray<string> Names { get; } =
    [
        "single-needle", "multi-key", "multi-value", "multi-query", "variables-1-hop", "variables-2-hops", "common-words", "frequent-words",
    ];
}
