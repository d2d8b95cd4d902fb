namespace KvPrune.AI.Templates.Jinja;

/// <summary>
/// The value of a variable, attribute or item that does not exist: empty when printed, an error in most operations.
/// </summary>
internal sealed record Undefined(string Name);
