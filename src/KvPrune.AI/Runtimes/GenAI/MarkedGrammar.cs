using System.Text;
using KvPrune.AI.Models;
using KvPrune.AI.Sampling;

namespace KvPrune.AI.Runtimes.GenAI;

/// <summary>
/// A grammar behind a mark: a special token that the grammar itself cannot ask for alone. Only at its beginning is the mark
/// all that is allowed, so a beginning can be told from any later place.
/// </summary>
/// <param name="Mark">The token that comes first.</param>
/// <param name="Lark">Mark and grammar in the notation of llguidance's Lark.</param>
internal sealed record MarkedGrammar(int Mark, string Lark)
{
    /// <summary>Puts a mark before a grammar.</summary>
    /// <param name="kind">Its notation, as <see cref="Guidance.Kind"/>.</param>
    /// <param name="grammar">The grammar.</param>
    /// <param name="folder">The model.</param>
    /// <param name="tokens">Its tokenizer's.</param>
    /// <exception cref="NotSupportedException">The tokenizer has no special token to spare.</exception>
    public static MarkedGrammar Create(string kind, string grammar, GenAIModelFolder folder, TokenInventory tokens)
    {
        // Text never matches a special token, but rules may name it. The grammar engine knows one end token, the first.
        bool IsSpare(TokenInventory.AddedToken token) =>
            token.IsSpecial && token.Id < folder.VocabularySize && token.Id != folder.EndTokens[0]
            && (kind != Guidance.LarkKind || !(grammar.Contains(token.Text, StringComparison.Ordinal) || grammar.Contains($"{token.Id}", StringComparison.Ordinal)));
        int mark = tokens.AddedTokens.FirstOrDefault(IsSpare)?.Id ?? throw new NotSupportedException(
            $"Grammars need a special token besides the end token {folder.EndTokens[0]} and those that the grammar names; the tokenizer of {folder.Path} has none.");
        string body = kind switch
        {
            Guidance.JsonSchemaKind => $"%json {grammar}",
            Guidance.RegexKind => $"/{Escape(grammar)}/",
            _ => $"%lark {{ {grammar}\n}}", // the line end closes a comment
        };
        return new MarkedGrammar(mark, $"start: <[{mark}]> {body}");
    }

    /// <summary>An expression as it has to stand between two slashes.</summary>
    private static string Escape(string pattern)
    {
        var text = new StringBuilder(pattern.Length);
        bool escaped = false;
        foreach (char c in pattern)
        {
            bool begins = c == '\\' && !escaped;
            if (!begins)
            {
                text.Append(c switch
                {
                    '/' => @"\/",
                    '\n' => @"\n",
                    '\r' => @"\r",
                    _ => escaped ? $@"\{c}" : $"{c}",
                });
            }
            escaped = begins;
        }
        return escaped ? text.Append('\\').ToString() : text.ToString();
    }
}
