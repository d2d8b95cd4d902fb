using System.Globalization;
using System.Text.Json;
using KvPrune.AI.Tokenization;

namespace KvPrune.AI.Runtimes.GenAI;

/// <summary>
/// Which tokens a tokenizer has, read from its files without regard to its kind: GenAI's C API tells neither the added
/// tokens nor which ids exist.
/// </summary>
internal sealed record TokenInventory
{
    /// <summary>A token that is matched in text as a whole, before any splitting or merging.</summary>
    internal sealed record AddedToken(string Text, int Id, bool IsSpecial);

    /// <summary>Added tokens, each text once.</summary>
    public required IReadOnlyList<AddedToken> AddedTokens { get; init; }

    /// <summary>All ids that stand for a token.</summary>
    public required IReadOnlySet<int> Ids { get; init; }

    /// <summary>What each id stands for; null if our reader does not know the tokenizer's entry "decoder".</summary>
    public required TokenBytes? Bytes { get; init; }

    /// <summary>Reads tokenizer.json, and the added tokens that only the tokenizer_config.json beside it has.</summary>
    /// <exception cref="TokenizerFormatException">A file is missing or broken; names file and entry.</exception>
    public static TokenInventory Read(string tokenizerJsonPath)
    {
        var added = new Dictionary<string, AddedToken>();
        string configuration = Path.Combine(Path.GetDirectoryName(tokenizerJsonPath)!, "tokenizer_config.json");
        return ReadFile(tokenizerJsonPath, root =>
        {
            if (Find(root, "added_tokens") is { ValueKind: JsonValueKind.Array } array)
            {
                int index = 0;
                foreach (JsonElement entry in array.EnumerateArray())
                {
                    string name = $"added_tokens[{index++}]";
                    Add(added, tokenizerJsonPath, name, entry, ReadId(Find(entry, "id"), tokenizerJsonPath, name));
                }
            }
            if (File.Exists(configuration)) ReadFile(configuration, config => AddDecoderTokens(added, configuration, config));
            Dictionary<int, string> vocabulary = ReadVocabulary(root, tokenizerJsonPath);
            if (vocabulary.Count + added.Count == 0)
                throw new TokenizerFormatException(tokenizerJsonPath, "model.vocab", "there are no tokens.");
            return new TokenInventory
            {
                AddedTokens = [.. added.Values],
                Ids = vocabulary.Keys.Concat(added.Values.Select(token => token.Id)).ToHashSet(),
                Bytes = ReadBytes(root, tokenizerJsonPath, vocabulary, added.Values),
            };
        });
    }

    /// <summary>The entry "added_tokens_decoder": a token by its id, which GenAI adds where its text is new.</summary>
    private static bool AddDecoderTokens(Dictionary<string, AddedToken> added, string file, JsonElement root)
    {
        if (Find(root, "added_tokens_decoder") is not { ValueKind: JsonValueKind.Object } tokens) return false;
        foreach (JsonProperty token in tokens.EnumerateObject())
        {
            string name = $"added_tokens_decoder['{token.Name}']";
            if (!int.TryParse(token.Name, NumberStyles.None, CultureInfo.InvariantCulture, out int id) || id == int.MaxValue)
                throw new TokenizerFormatException(file, name, "its name has to be a token id.");
            Add(added, file, name, token.Value, id);
        }
        return true;
    }

    private static void Add(Dictionary<string, AddedToken> added, string file, string entry, JsonElement token, int id)
    {
        if (Find(token, "content") is not { ValueKind: JsonValueKind.String } content)
            throw new TokenizerFormatException(file, entry, "a token needs text in 'content'.");
        string text = content.GetString()!;
        if (text.Length > 0) added.TryAdd(text, new AddedToken(text, id, Find(token, "special") is { ValueKind: JsonValueKind.True }));
    }

    /// <summary>The texts of "model.vocab": an object from text to id, or an array in the order of the ids, each [text, score].</summary>
    private static Dictionary<int, string> ReadVocabulary(JsonElement root, string file)
    {
        var vocabulary = new Dictionary<int, string>();
        JsonElement? vocab = Find(root, "model") is { } model ? Find(model, "vocab") : null;
        switch (vocab)
        {
            case { ValueKind: JsonValueKind.Object } map:
                foreach (JsonProperty token in map.EnumerateObject())
                    vocabulary[ReadId(token.Value, file, $"model.vocab['{token.Name}']")] = token.Name;
                return vocabulary;
            case { ValueKind: JsonValueKind.Array } list:
                foreach (JsonElement piece in list.EnumerateArray())
                {
                    JsonElement text = piece.ValueKind == JsonValueKind.Array && piece.GetArrayLength() > 0 ? piece[0] : piece;
                    if (text.ValueKind != JsonValueKind.String)
                        throw new TokenizerFormatException(file, $"model.vocab[{vocabulary.Count}]", "a piece is its text, or an array that begins with it.");
                    vocabulary.Add(vocabulary.Count, text.GetString()!);
                }
                return vocabulary;
            default:
                throw new TokenizerFormatException(file, "model.vocab", "an object or an array of tokens is expected.");
        }
    }

    private static TokenBytes? ReadBytes(JsonElement root, string file, Dictionary<int, string> vocabulary, IReadOnlyCollection<AddedToken> added)
    {
        if (Find(root, "decoder") is not { ValueKind: JsonValueKind.Object } decoder) return null;
        HashSet<int> addedIds = [.. added.Select(token => token.Id)]; // the vocabulary may hold them too, as they are
        try
        {
            return new TokenBytes(
                vocabulary.Where(token => !addedIds.Contains(token.Key)).Select(token => (token.Key, token.Value)),
                added.Select(token => (token.Id, token.Text, token.IsSpecial)),
                PieceDecoderReader.Read(new JsonEntry(file, "decoder", decoder)));
        }
        catch (Exception error) when (error is TokenizerFormatException or ArgumentException)
        {
            return null;
        }
    }

    private static int ReadId(JsonElement? value, string file, string entry) =>
        value is { ValueKind: JsonValueKind.Number } number && number.TryGetInt32(out int id) && id is >= 0 and < int.MaxValue
            ? id : throw new TokenizerFormatException(file, entry, "its id has to be a whole number from 0 on.");

    private static JsonElement? Find(JsonElement parent, string name) =>
        parent.ValueKind == JsonValueKind.Object && parent.TryGetProperty(name, out JsonElement value) && value.ValueKind != JsonValueKind.Null
            ? value : null;

    private static T ReadFile<T>(string file, Func<JsonElement, T> read)
    {
        try
        {
            using JsonDocument document = JsonDocument.Parse(File.ReadAllBytes(file));
            return read(document.RootElement);
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            throw new TokenizerFormatException(file, "", "the file cannot be read. " + error.Message, error);
        }
        catch (JsonException error)
        {
            throw new TokenizerFormatException(file, "", "this is not valid JSON. " + error.Message, error);
        }
        catch (InvalidOperationException error)
        {
            // JsonElement reports escapes of unpaired surrogates this way, and only when the string is read.
            throw new TokenizerFormatException(file, "", "a string in it is not valid Unicode. " + error.Message, error);
        }
    }
}
