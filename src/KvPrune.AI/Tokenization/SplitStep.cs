using System.Text.RegularExpressions;

namespace KvPrune.AI.Tokenization;

/// <summary>One cutting of text at the matches of a pattern.</summary>
/// <param name="Pattern">Never matches an empty text.</param>
/// <param name="Behavior">What becomes of the delimiters.</param>
/// <param name="IsInverted">Whether the delimiters are what lies between the matches, rather than the matches.</param>
/// <param name="File">The file that brought the pattern, if one did.</param>
/// <param name="Entry">The pattern's entry in it.</param>
internal sealed record SplitStep(
    Regex Pattern, SplitBehavior Behavior, bool IsInverted = false, string File = "", string Entry = "");

/// <summary>What becomes of the delimiters a text is cut at.</summary>
internal enum SplitBehavior
{
    /// <summary>Each is a piece of its own.</summary>
    Isolated,

    /// <summary>They are left out.</summary>
    Removed,

    /// <summary>Each ends the piece before it.</summary>
    MergedWithPrevious,

    /// <summary>Each begins the piece after it.</summary>
    MergedWithNext,
}
