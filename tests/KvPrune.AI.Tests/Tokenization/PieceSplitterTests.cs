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
        Compare(SplitPattern.Find(Llama3)!, new BytePairReference(TokenizerFixture.Json, digitsPerPiece: 3));

    [Theory]
    [InlineData("𝐀a 𠀀x", "𝐀a", " 𠀀x")]
    [InlineData("𝟘1 𝟚", "𝟘1", " 𝟚")]
    [InlineData("😀! 😀a", "😀!", " 😀", "a")]
    public void Characters_outside_the_basic_plane_keep_their_class(string text, params string[] expected) =>
        Assert.Equal(expected, Pieces(SplitPattern.Gpt2, text));

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
        var pieces = new List<(int Start, int Length)>();
        PieceSplitter.Split(text, pattern, pieces);
        return pieces.ConvertAll(piece => text.Substring(piece.Start, piece.Length));
    }
}
