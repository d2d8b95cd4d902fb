using System.Text;
using System.Text.Json;

namespace KvPrune.AI.Tokenization;

/// <summary>Reads the entry "model" of a tokenizer.json.</summary>
internal sealed class BytePairModelReader(JsonEntry model, List<AddedToken> addedTokens, bool isByteLevel)
{
    private static readonly byte[] AllBytes = [.. Enumerable.Range(0, 256).Select(value => (byte)value)];

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
        Dictionary<string, int> vocabulary = ReadVocabulary();
        List<(string Left, string Right)> merges = ReadMerges(vocabulary);
        bool fallsBackToBytes = model.Flag("byte_fallback") && !isByteLevel;
        int? unknown = ReadUnknown();
        if (isByteLevel)
            RequireBytes(vocabulary, value => ByteAlphabet.ToChar(value).ToString());
        else if (unknown is null && !fallsBackToBytes)
            throw model.Fail("unk_token", "without it and without byte_fallback, characters that have no token would be lost.");
        else if (unknown is null)
            RequireBytes(vocabulary, PieceDecoder.NameOf);
        return new BytePairModel
        {
            IsByteLevel = isByteLevel,
            Vocabulary = vocabulary,
            Merges = merges,
            WholePiecesFirst = model.Flag("ignore_merges"),
            IdOfByte = fallsBackToBytes
                ? [.. AllBytes.Select(value => vocabulary.TryGetValue(PieceDecoder.NameOf(value), out int id) ? (int?)id : null)]
                : null,
            UnknownId = unknown,
            FusesUnknown = model.Flag("fuse_unk"),
        };
    }

    private Dictionary<string, int> ReadVocabulary()
    {
        Dictionary<string, AddedToken> added = addedTokens.ToDictionary(token => token.Content);
        Dictionary<int, string> tokenOfId = addedTokens.ToDictionary(token => token.Id, token => token.Content);
        var vocabulary = new Dictionary<string, int>();
        foreach (JsonProperty property in model.Require("vocab", JsonValueKind.Object).Element.EnumerateObject())
        {
            string token = property.Name;
            if (!JsonEntry.IsTokenId(property.Value, out int id))
                throw Entry().Fail($"a token id is a whole number from 0 on, not {Entry().Quoted}.");
            if (added.TryGetValue(token, out AddedToken? addedToken))
            {
                if (id != addedToken.Id)
                    throw Entry().Fail($"its id is {id} here and {addedToken.Id} in added_tokens.");
            }
            else if (!tokenOfId.TryAdd(id, token))
            {
                throw Entry().Fail($"the id {id} already belongs to '{tokenOfId[id]}'.");
            }
            else if (token.Length == 0)
            {
                throw Entry().Fail("a token needs text.");
            }
            else if (isByteLevel && ByteAlphabet.ToBytes(token) is null)
            {
                throw Entry().Fail("a byte-level vocabulary has only the 256 characters that stand for bytes.");
            }

            if (!vocabulary.TryAdd(token, id))
                throw Entry().Fail("the token is there twice.");

            JsonEntry Entry() => new(model.File, $"model.vocab['{token}']", property.Value);
        }

        return vocabulary;
    }

    /// <summary>Reads the merges, and takes out of the vocabulary the added tokens that are not for ordinary text.</summary>
    private List<(string Left, string Right)> ReadMerges(Dictionary<string, int> vocabulary)
    {
        var merges = new List<(string Left, string Right)>();
        JsonElement array = model.Require("merges", JsonValueKind.Array).Element;
        foreach (JsonElement item in array.EnumerateArray())
        {
            if (PartsOf(item) is not [string left, string right])
                throw Entry(merges.Count).Fail($"a merge is two tokens, not {Entry(merges.Count).Quoted}.");
            merges.Add((left, right));
        }

        RemoveAddedTokens(vocabulary, merges);
        var last = new Dictionary<(string, string), int>(merges.Count);
        for (int i = 0; i < merges.Count; i++)
        {
            (string left, string right) = merges[i];
            if (!vocabulary.ContainsKey(left) || !vocabulary.ContainsKey(right) || !vocabulary.ContainsKey(left + right))
                throw Entry(i).Fail($"the vocabulary has no token '{left}', '{right}' or '{left + right}' for ordinary text.");
            last[(left, right)] = i;
        }

        // A merge that is there twice has its last place, as Hugging Face's tokenizers have it.
        return last.Count == merges.Count ? merges : [.. merges.Where((merge, i) => last[merge] == i)];

        JsonEntry Entry(int index) => new(model.File, $"model.merges[{index}]", array[index]);
    }

    // Special tokens, which ordinary text must never become, and others that no merge makes of it.
    private void RemoveAddedTokens(Dictionary<string, int> vocabulary, List<(string Left, string Right)> merges)
    {
        HashSet<string> unmade = [.. addedTokens.Select(token => token.Content).Where(token => !IsSymbol(token))];
        if (unmade.Count > 0)
        {
            foreach ((string left, string right) in merges)
                unmade.Remove(left + right);
        }

        foreach (AddedToken token in addedTokens)
        {
            if (token.IsSpecial || unmade.Contains(token.Content))
                vocabulary.Remove(token.Content);
        }
    }

    private static string[] PartsOf(JsonElement merge) => merge.ValueKind switch
    {
        JsonValueKind.String => merge.GetString()!.Split(' '),
        JsonValueKind.Array when merge.GetArrayLength() == 2
            && merge[0].ValueKind == JsonValueKind.String
            && merge[1].ValueKind == JsonValueKind.String => [merge[0].GetString()!, merge[1].GetString()!],
        _ => [],
    };

    /// <summary>Whether a token is one of those that merges begin with.</summary>
    private bool IsSymbol(string token) => isByteLevel
        ? token.Length == 1 && ByteAlphabet.ToBytes(token) is not null
        : token.StartsWith("<0x", StringComparison.Ordinal)
            || (Rune.TryGetRuneAt(token, 0, out Rune rune) && rune.Utf16SequenceLength == token.Length);

    // One below 0x80 is a character, which may have a token of its own instead.
    private void RequireBytes(Dictionary<string, int> vocabulary, Func<byte, string> nameOf)
    {
        foreach (byte value in AllBytes)
        {
            string name = nameOf(value);
            if (!vocabulary.ContainsKey(name) && !(value < 0x80 && !isByteLevel && vocabulary.ContainsKey($"{(char)value}")))
                throw model.Fail("vocab", $"the byte 0x{value:X2} ('{name}') has no token.");
        }
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
