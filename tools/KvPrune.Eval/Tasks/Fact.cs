namespace KvPrune.Eval.Tasks;

/// <summary>One fact of a document.</summary>
internal sealed record Fact(string Key, string Value, string Sentence);
