using System.Text.Json;
using System.Text.RegularExpressions;

namespace KvPrune.AI.Tokenization;

/// <summary>Reads and checks a tokenizer.json.</summary>
internal sealed class TokenizerFileReader
{
    private readonly string _path;

    private TokenizerFileReader(string path) => _path = path;

    /// <exception cref="TokenizerFormatException">Anything that is not as it must be.</exception>
    public static TokenizerFile Read(string path)
    {
        var reader = new TokenizerFileReader(path);
        try
        {
            using JsonDocument document = JsonDocument.Parse(File.ReadAllBytes(path));
            return reader.Read(document.RootElement);
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            throw new TokenizerFormatException(path, "", "the file cannot be read. " + exception.Message, exception);
        }
        catch (JsonException exception)
        {
            throw new TokenizerFormatException(path, "", "this is not valid JSON. " + exception.Message, exception);
        }
        catch (InvalidOperationException exception)
        {
            // JsonElement reports escapes of unpaired surrogates this way, and only when the string is read.
            throw new TokenizerFormatException(
                path, "", "a string in it is not valid Unicode. " + exception.Message, exception);
        }
    }

    private TokenizerFile Read(JsonElement root)
    {
        RequireKind(root, JsonValueKind.Object, "the top level");
        JsonElement model = Require(root, "model", JsonValueKind.Object, "");
        RequireBpe(model);
        if (TryGet(root, "normalizer", out JsonElement normalizer))
            throw Fail("normalizer", $"changing text before it is split is not supported: {Shorten(normalizer)}.");

        List<AddedToken> addedTokens = ReadAddedTokens(root);
        Dictionary<string, int> vocabulary = ReadVocabulary(model, addedTokens);
        return new TokenizerFile
        {
            AddedTokens = addedTokens,
            Vocabulary = vocabulary,
            Merges = ReadMerges(model, vocabulary),
            SplitPattern = ReadSplitPattern(root),
            WholePiecesFirst = IsTrue(model, "ignore_merges", "model"),
        };
    }

    private void RequireBpe(JsonElement model)
    {
        if (TryGet(model, "type", out JsonElement type) && TypeName(type) != "BPE")
            throw Fail("model.type", $"only BPE is supported, not {type}.");
        foreach (string name in (string[])["continuing_subword_prefix", "end_of_word_suffix", "dropout"])
        {
            if (TryGet(model, name, out JsonElement value) && value.ToString() is not ("" or "0" or "0.0"))
                throw Fail("model." + name, $"byte-level BPE does not use it, but it is {value}.");
        }

        if (IsTrue(model, "byte_fallback", "model"))
            throw Fail("model.byte_fallback", "this is a SentencePiece vocabulary; only byte-level BPE is supported.");
    }

    private List<AddedToken> ReadAddedTokens(JsonElement root)
    {
        var tokens = new List<AddedToken>();
        if (!TryGet(root, "added_tokens", out JsonElement array))
            return tokens;

        RequireKind(array, JsonValueKind.Array, "added_tokens");
        var contents = new HashSet<string>();
        var ids = new HashSet<int>();
        foreach (JsonElement item in array.EnumerateArray())
        {
            string entry = $"added_tokens[{tokens.Count}]";
            RequireKind(item, JsonValueKind.Object, entry);
            string content = Require(item, "content", JsonValueKind.String, entry).GetString()!;
            int id = ReadId(Require(item, "id", JsonValueKind.Number, entry), entry + ".id");
            if (content.Length == 0)
                throw Fail(entry + ".content", "a token needs text.");
            if (!contents.Add(content))
                throw Fail(entry + ".content", $"the token '{content}' is there twice.");
            if (!ids.Add(id))
                throw Fail(entry + ".id", $"the id {id} is there twice.");
            if (IsTrue(item, "single_word", entry))
                throw Fail(entry + ".single_word", $"matching '{content}' at word borders only is not supported.");

            tokens.Add(new AddedToken(
                content,
                id,
                TakesSpaceBefore: IsTrue(item, "lstrip", entry),
                TakesSpaceAfter: IsTrue(item, "rstrip", entry),
                IsSpecial: IsTrue(item, "special", entry)));
        }

        return tokens;
    }

    // Added tokens that are repeated in the vocabulary are left out of it: BPE must never make them from ordinary text.
    private Dictionary<string, int> ReadVocabulary(JsonElement model, List<AddedToken> addedTokens)
    {
        Dictionary<string, int> addedIds = addedTokens.ToDictionary(token => token.Content, token => token.Id);
        Dictionary<int, string> tokenOfId = addedTokens.ToDictionary(token => token.Id, token => token.Content);
        var vocabulary = new Dictionary<string, int>();
        foreach (JsonProperty property in Require(model, "vocab", JsonValueKind.Object, "model").EnumerateObject())
        {
            string token = property.Name;
            string entry = $"model.vocab['{token}']";
            int id = ReadId(property.Value, entry);
            if (addedIds.TryGetValue(token, out int addedId))
            {
                if (id != addedId)
                    throw Fail(entry, $"its id is {id} here and {addedId} in added_tokens.");
                continue;
            }

            if (!tokenOfId.TryAdd(id, token))
                throw Fail(entry, $"the id {id} already belongs to '{tokenOfId[id]}'.");
            if (token.Length == 0 || ByteAlphabet.ToBytes(token) is null)
                throw Fail(entry, "a byte-level vocabulary has only the 256 characters that stand for bytes.");
            if (!vocabulary.TryAdd(token, id))
                throw Fail(entry, "the token is there twice.");
        }

        for (int value = 0; value < 256; value++)
        {
            char standIn = ByteAlphabet.ToChar((byte)value);
            if (!vocabulary.ContainsKey(standIn.ToString()))
                throw Fail("model.vocab", $"the byte 0x{value:X2} ('{standIn}') has no token.");
        }

        return vocabulary;
    }

    private List<string> ReadMerges(JsonElement model, Dictionary<string, int> vocabulary)
    {
        var merges = new List<string>();
        var seen = new HashSet<string>();
        foreach (JsonElement item in Require(model, "merges", JsonValueKind.Array, "model").EnumerateArray())
        {
            string entry = $"model.merges[{merges.Count}]";
            string[] parts = item.ValueKind switch
            {
                JsonValueKind.String => item.GetString()!.Split(' '),
                JsonValueKind.Array when item.EnumerateArray().All(part => part.ValueKind == JsonValueKind.String) =>
                    [.. item.EnumerateArray().Select(part => part.GetString()!)],
                _ => [],
            };
            if (parts.Length != 2)
                throw Fail(entry, $"a merge is two tokens, not {item}.");
            foreach (string token in (string[])[parts[0], parts[1], parts[0] + parts[1]])
            {
                if (!vocabulary.ContainsKey(token))
                    throw Fail(entry, $"the vocabulary has no token '{token}'.");
            }

            string merge = parts[0] + " " + parts[1];
            if (!seen.Add(merge))
                throw Fail(entry, $"the merge '{merge}' is there twice.");
            merges.Add(merge);
        }

        return merges;
    }

    private Regex ReadSplitPattern(JsonElement root)
    {
        RequireByteLevelDecoder(root);
        JsonElement preTokenizer = Require(root, "pre_tokenizer", JsonValueKind.Object, "");
        if (TypeOf(preTokenizer) == "ByteLevel")
            return ReadByteLevel(preTokenizer, "pre_tokenizer", splits: true);
        if (TypeOf(preTokenizer) != "Sequence")
        {
            throw Fail(
                "pre_tokenizer.type",
                $"only ByteLevel, alone or after one Split, is supported, not {TypeOf(preTokenizer)}.");
        }

        JsonElement list = Require(preTokenizer, "pretokenizers", JsonValueKind.Array, "pre_tokenizer");
        const string entry = "pre_tokenizer.pretokenizers";
        JsonElement[] steps = [.. list.EnumerateArray()];
        for (int i = 0; i < steps.Length; i++)
            RequireKind(steps[i], JsonValueKind.Object, $"{entry}[{i}]");
        string kinds = string.Join(", ", steps.Select(TypeOf));
        switch (kinds)
        {
            case "ByteLevel":
                return ReadByteLevel(steps[0], entry + "[0]", splits: true);
            case "Split, ByteLevel":
                ReadByteLevel(steps[1], entry + "[1]", splits: false);
                return ReadSplit(steps[0], entry + "[0]");
            default:
                throw Fail(entry, $"only ByteLevel, alone or after one Split, is supported, not {kinds}.");
        }
    }

    private Regex ReadByteLevel(JsonElement step, string entry, bool splits)
    {
        if (IsTrue(step, "add_prefix_space", entry))
            throw Fail(entry + ".add_prefix_space", "a space put before every text is not supported.");
        bool usesRegex = !TryGet(step, "use_regex", out _) || IsTrue(step, "use_regex", entry);
        if (usesRegex != splits)
            throw Fail(entry + ".use_regex", $"{usesRegex} is not supported {(splits ? "without" : "after")} a Split.");
        return SplitPattern.Gpt2;
    }

    private Regex ReadSplit(JsonElement step, string entry)
    {
        JsonElement pattern = Require(step, "pattern", JsonValueKind.Object, entry);
        string regex = Require(pattern, "Regex", JsonValueKind.String, entry + ".pattern").GetString()!;
        string behavior = Require(step, "behavior", JsonValueKind.String, entry).GetString()!;
        // The known patterns leave nothing between their matches, so these two come to the same.
        if ((behavior, IsTrue(step, "invert", entry)) is not (("Isolated", false) or ("Removed", true)))
            throw Fail(entry + ".behavior", $"only Isolated, or Removed with invert, is supported, not {behavior}.");
        return SplitPattern.Find(regex)
            ?? throw Fail(
                entry + ".pattern.Regex", $"only the patterns of GPT-2 and Llama 3 are supported, not {regex}");
    }

    private void RequireByteLevelDecoder(JsonElement root)
    {
        JsonElement decoder = Require(root, "decoder", JsonValueKind.Object, "");
        if (TypeOf(decoder) != "ByteLevel")
            throw Fail("decoder.type", $"only ByteLevel is supported, not {TypeOf(decoder)}.");
    }

    private int ReadId(JsonElement value, string entry) =>
        value.ValueKind == JsonValueKind.Number && value.TryGetInt32(out int id) && id is >= 0 and < int.MaxValue
            ? id
            : throw Fail(entry, $"a token id is a whole number from 0 on, not {Shorten(value)}.");

    private bool IsTrue(JsonElement parent, string name, string entry)
    {
        if (!TryGet(parent, name, out JsonElement value))
            return false;
        if (value.ValueKind is not (JsonValueKind.True or JsonValueKind.False))
            throw Fail($"{entry}.{name}", $"true or false is expected, not {Shorten(value)}.");
        return value.GetBoolean();
    }

    private JsonElement Require(JsonElement parent, string name, JsonValueKind kind, string entry)
    {
        string path = entry.Length == 0 ? name : $"{entry}.{name}";
        if (!TryGet(parent, name, out JsonElement value))
            throw Fail(path, "the entry is missing.");
        RequireKind(value, kind, path);
        return value;
    }

    private void RequireKind(JsonElement value, JsonValueKind kind, string entry)
    {
        if (value.ValueKind != kind)
            throw Fail(entry, $"{kind} is expected, not {value.ValueKind}.");
    }

    // An entry that is null counts as missing, as everywhere in this format.
    private static bool TryGet(JsonElement parent, string name, out JsonElement value) =>
        parent.TryGetProperty(name, out value) && value.ValueKind != JsonValueKind.Null;

    private static string TypeOf(JsonElement step) =>
        step.TryGetProperty("type", out JsonElement type) ? TypeName(type) : "(none)";

    private static string TypeName(JsonElement type) =>
        type.ValueKind == JsonValueKind.String ? type.GetString()! : type.ToString();

    private static string Shorten(JsonElement value)
    {
        string text = value.GetRawText();
        return text.Length <= 80 ? text : text[..80] + "…";
    }

    private TokenizerFormatException Fail(string entry, string problem) => new(_path, entry, problem);
}
