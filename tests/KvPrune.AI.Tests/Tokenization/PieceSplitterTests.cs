using System.Collections.Concurrent;
using System.Globalization;
using System.Text;
using System.Text.RegularExpressions;
using KvPrune.AI.Tokenization;

namespace KvPrune.AI.Tests.Tokenization;

/// <summary>
/// Pieces rather than ids: the bundled vocabulary has no merges outside the basic plane, where .NET's regexes need help.
/// </summary>
public sealed class PieceSplitterTests
{
    private const string Llama3 =
        @"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

    [Fact]
    public void Pieces_of_GPT_2_are_those_of_its_rules() =>
        Compare(SplitPattern.Gpt2, new BytePairReference(TokenizerFixture.Json));

    [Fact]
    public void Pieces_of_Llama_3_are_those_of_its_rules() =>
        Compare(SplitPattern.Translate(Llama3), new BytePairReference(TokenizerFixture.Json, digitsPerPiece: 3));

    [Theory]
    [InlineData("𝐀a 𠀀x", "𝐀a", " 𠀀x")]
    [InlineData("𝟘1 𝟚", "𝟘1", " 𝟚")]
    [InlineData("😀! 😀a", "😀!", " 😀", "a")]
    public void Characters_outside_the_basic_plane_keep_their_class(string text, params string[] expected) =>
        Assert.Equal(expected, Pieces(SplitPattern.Gpt2, text));

    private static readonly ConcurrentDictionary<string, Regex> Patterns = [];

    private static void Compare(Regex pattern, BytePairReference reference)
    {
        var generator = new TextGenerator(37);
        for (int i = 0; i < 2000; i++)
        {
            string line = generator.Line();
            Assert.Equal(reference.Pieces(line), Pieces(pattern, line));
        }
    }

    private static List<string> Pieces(Regex pattern, string text)
    {
        List<(int Start, int Length)> pieces = PieceSplitter.Split(text, [new SplitStep(pattern, SplitBehavior.Isolated)]);
        return pieces.ConvertAll(piece => text.Substring(piece.Start, piece.Length));
    }

    [Fact]
    public void Every_character_outside_the_basic_plane_matches_as_its_category()
    {
        string[] names =
        [
            "Lu", "Ll", "Lt", "Lm", "Lo", "Mn", "Mc", "Me", "Nd", "Nl", "No", "Zs", "Zl", "Zp", "Cc", "Cf", "Cs", "Co", "Pc", "Pd", "Ps",
            "Pe", "Pi", "Pf", "Po", "Sm", "Sc", "Sk", "So",
        ];
        for (int value = 0x10000; value < 0x110000; value += value < 0x20000 ? 1 : 257)
        {
            var rune = new Rune(value);
            UnicodeCategory category = Rune.GetUnicodeCategory(rune);
            if ((int)category >= names.Length || names[(int)category][0] == 'C')
                continue;
            string text = $"a{rune}b";
            Regex matching = Patterns.GetOrAdd(names[(int)category], name => SplitPattern.Translate($@"\p{{{name}}}"));
            Assert.Equal(["a", rune.ToString(), "b"], Pieces(matching, text));
        }
    }

    [Theory]
    [InlineData("ab12c", "Isolated", false, "ab", "1", "2", "c")]
    [InlineData("ab12c", "Removed", false, "ab", "c")]
    [InlineData("ab12c", "Removed", true, "1", "2")]
    [InlineData("ab12c", "MergedWithPrevious", false, "ab1", "2", "c")]
    [InlineData("ab12c", "MergedWithNext", false, "ab", "1", "2c")]
    [InlineData("12", "MergedWithPrevious", false, "1", "2")]
    [InlineData("ab12c", "MergedWithNext", true, "ab1", "2", "c")]
    [InlineData("ab12c", "MergedWithPrevious", true, "ab", "1", "2c")]
    public void Delimiters_go_where_the_behavior_says(string text, string behavior, bool inverted, params string[] expected)
    {
        var step = new SplitStep(SplitPattern.Digit, Enum.Parse<SplitBehavior>(behavior), inverted);
        Assert.Equal(expected, PieceSplitter.Split(text, [step]).ConvertAll(piece => text.Substring(piece.Start, piece.Length)));
    }
}
