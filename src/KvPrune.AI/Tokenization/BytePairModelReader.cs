using System.Text;
using System.Text.Json;

namespace KvPrune.AI.Tokenization;

/// <summary>Reads the entry "model" of a tokenizer.json.</summary>
internal sealed class BytePairModelReader(JsonEntry model, List<AddedToken> addedTokens, bool isByteLevel)
{
    /// <summary>Refuses models other than byte-pair encoding, and what this library does not do with it.</summary>
    public static void RequireKind(JsonEntry model)
    {
        if (model.Find("type") is not null && model.Type != "BPE")
            throw model.Fail("type", $"only BPE is supported, not {model.Type}.");
        foreach (string name in (string[])["continuing_subword_prefix", "end_of_word_suffix", "dropout"])
        {
            if (model.Find(name) is { } entry && entry.Element.ToString() is not ("" or "0" or "0.0"))
                throw entry.Fail($"this is not supported, but it is {entry.Quoted}.");
        }
    }

    /// <exception cref="TokenizerFormatException">Anything that is not as it must be.</exception>
    public BytePairModel Read()
    {
        List<(string Left, string Right)> merges = ReadMerges();
        Dictionary<string, int> vocabulary = ReadVocabulary(merges);
        RequireTokensOf(merges, vocabulary);
        bool fallsBackToBytes = model.Flag("byte_fallback") && !isByteLevel;
        int? unknown = ReadUnknown();
        if (!isByteLevel && !fallsBackToBytes && unknown is null)
            throw model.Fail("unk_token", "without it and without byte_fallback, characters that have no token would be lost.");
        return new BytePairModel
        {
            IsByteLevel = isByteLevel,
            Vocabulary = vocabulary,
            Merges = merges,
            WholePiecesFirst = model.Flag("ignore_merges"),
            IdOfByte = fallsBackToBytes ? RequireBytes(vocabulary, PieceDecoder.NameOf) : null,
            UnknownId = unknown,
            FusesUnknown = model.Flag("fuse_unk"),
        };
    }

    private List<(string Left, string Right)> ReadMerges()
    {
        var merges = new List<(string Left, string Right)>();
        var seen = new HashSet<(string, string)>();
        foreach (JsonEntry item in model.Require("merges", JsonValueKind.Array).Items())
        {
            string[] parts = item.Element.ValueKind switch
            {
                JsonValueKind.String => item.Element.GetString()!.Split(' '),
                JsonValueKind.Array when item.Element.EnumerateArray().All(part => part.ValueKind == JsonValueKind.String) =>
                    [.. item.Element.EnumerateArray().Select(part => part.GetString()!)],
                _ => [],
            };
            if (parts is not [string left, string right])
                throw item.Fail($"a merge is two tokens, not {item.Quoted}.");
            if (!seen.Add((left, right)))
                throw item.Fail($"the merge '{left} {right}' is there twice.");
            merges.Add((left, right));
        }

        return merges;
    }

    private void RequireTokensOf(List<(string Left, string Right)> merges, Dictionary<string, int> vocabulary)
    {
        for (int i = 0; i < merges.Count; i++)
        {
            (string left, string right) = merges[i];
            foreach (string token in (string[])[left, right, left + right])
            {
                if (!vocabulary.ContainsKey(token))
                    throw model.Fail($"merges[{i}]", $"the vocabulary has no token '{token}'.");
            }
        }
    }

    // An added token is left out if it is special, which ordinary text must never become, or if ordinary text cannot.
    private Dictionary<string, int> ReadVocabulary(List<(string Left, string Right)> merges)
    {
        HashSet<string> made = [.. merges.Select(merge => merge.Left + merge.Right)];
        Dictionary<string, AddedToken> added = addedTokens.ToDictionary(token => token.Content);
        Dictionary<int, string> tokenOfId = addedTokens.ToDictionary(token => token.Id, token => token.Content);
        var vocabulary = new Dictionary<string, int>();
        foreach (JsonProperty property in model.Require("vocab", JsonValueKind.Object).Element.EnumerateObject())
        {
            string token = property.Name;
            var entry = new JsonEntry(model.File, $"model.vocab['{token}']", property.Value);
            int id = entry.TokenId();
            if (added.TryGetValue(token, out AddedToken? addedToken))
            {
                if (id != addedToken.Id)
                    throw entry.Fail($"its id is {id} here and {addedToken.Id} in added_tokens.");
                if (addedToken.IsSpecial || !(made.Contains(token) || IsSymbol(token)))
                    continue;
            }
            else if (!tokenOfId.TryAdd(id, token))
            {
                throw entry.Fail($"the id {id} already belongs to '{tokenOfId[id]}'.");
            }

            if (token.Length == 0)
                throw entry.Fail("a token needs text.");
            if (isByteLevel && ByteAlphabet.ToBytes(token) is null)
                throw entry.Fail("a byte-level vocabulary has only the 256 characters that stand for bytes.");
            if (!vocabulary.TryAdd(token, id))
                throw entry.Fail("the token is there twice.");
        }

        if (isByteLevel)
            RequireBytes(vocabulary, value => ByteAlphabet.ToChar(value).ToString());
        return vocabulary;
    }

    /// <summary>Whether a token is one of those that merges begin with.</summary>
    private bool IsSymbol(string token) => isByteLevel
        ? token.Length == 1 && ByteAlphabet.ToBytes(token) is not null
        : token.StartsWith("<0x", StringComparison.Ordinal)
            || (Rune.TryGetRuneAt(token, 0, out Rune rune) && rune.Utf16SequenceLength == token.Length);

    private int[] RequireBytes(Dictionary<string, int> vocabulary, Func<byte, string> nameOf)
    {
        var ids = new int[256];
        for (int value = 0; value < ids.Length; value++)
        {
            string name = nameOf((byte)value);
            if (!vocabulary.TryGetValue(name, out ids[value]))
                throw model.Fail("vocab", $"the byte 0x{value:X2} ('{name}') has no token.");
        }

        return ids;
    }

    private int? ReadUnknown()
    {
        if (isByteLevel || model.Find("unk_token") is null)
            return null;
        string token = model.Text("unk_token");
        JsonElement vocabulary = model.Require("vocab", JsonValueKind.Object).Element;
        return vocabulary.TryGetProperty(token, out JsonElement id)
            ? id.GetInt32()
            : throw model.Fail("unk_token", $"the vocabulary has no token '{token}'.");
    }
}
