using System.Globalization;
using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Json.Nodes;

namespace KvPrune.ModelBuilder.Synthetic;

/// <summary>
/// The tokenizer files of a random model: ids 0..255 are the bytes, the last six are special tokens, and the ids between carry
/// filler words that no text encodes to, so that every id a random model emits can be decoded.
/// </summary>
internal static class ByteTokenizerFiles
{
    private const int ByteCount = 256;

    private const string ChatTemplate =
        "{{ '<|begin_of_text|>' }}{% for message in messages %}"
        + "{{ '<|' + message['role'] + '|>' + message['content'] + '<|end|>' }}{% endfor %}"
        + "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}";

    private static readonly string[] Specials =
        ["<|begin_of_text|>", "<|end_of_text|>", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>"];

    private static readonly JsonSerializerOptions Options = new() { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    /// <summary>The smallest vocabulary: the bytes and the special tokens.</summary>
    public static int SmallestVocabulary { get; } = ByteCount + Specials.Length;

    public static SpecialTokens Tokens(int vocabulary) =>
        new(vocabulary - Specials.Length, [vocabulary - 1], vocabulary - Specials.Length + 1);

    public static void Write(string folder, int vocabulary, int contextLength)
    {
        var firstSpecial = vocabulary - Specials.Length;
        var words = new JsonObject();
        for (var id = 0; id < ByteCount; id++)
            words[ByteCharacter(id).ToString()] = id;
        for (var id = ByteCount; id < firstSpecial; id++)
            words[$"Ġw{id.ToString(CultureInfo.InvariantCulture)}"] = id;

        var added = new JsonArray();
        var decoder = new JsonObject();
        for (var i = 0; i < Specials.Length; i++)
        {
            var token = new JsonObject
            {
                ["content"] = Specials[i], ["single_word"] = false, ["lstrip"] = false,
                ["rstrip"] = false, ["normalized"] = false, ["special"] = true,
            };
            decoder[(firstSpecial + i).ToString(CultureInfo.InvariantCulture)] = token.DeepClone();
            token.Insert(0, "id", firstSpecial + i);
            added.Add(token);
        }

        Save(folder, "tokenizer.json", new JsonObject
        {
            ["version"] = "1.0", ["truncation"] = null, ["padding"] = null,
            ["added_tokens"] = added,
            ["normalizer"] = null,
            ["pre_tokenizer"] = ByteLevel(addPrefixSpace: false),
            ["post_processor"] = null,
            ["decoder"] = ByteLevel(addPrefixSpace: true),
            ["model"] = new JsonObject
            {
                ["type"] = "BPE", ["dropout"] = null, ["unk_token"] = null, ["continuing_subword_prefix"] = null,
                ["end_of_word_suffix"] = null, ["fuse_unk"] = false, ["byte_fallback"] = false, ["ignore_merges"] = false,
                ["vocab"] = words,
                ["merges"] = new JsonArray(),
            },
        });
        Save(folder, "tokenizer_config.json", new JsonObject
        {
            ["tokenizer_class"] = "PreTrainedTokenizerFast",
            ["bos_token"] = Specials[0], ["eos_token"] = Specials[^1], ["pad_token"] = Specials[1], ["unk_token"] = null,
            ["clean_up_tokenization_spaces"] = false,
            ["model_max_length"] = contextLength,
            ["chat_template"] = ChatTemplate,
            ["added_tokens_decoder"] = decoder,
        });
    }

    private static JsonObject ByteLevel(bool addPrefixSpace) => new()
    {
        ["type"] = "ByteLevel", ["add_prefix_space"] = addPrefixSpace, ["trim_offsets"] = true, ["use_regex"] = true,
    };

    // The byte-level alphabet (GPT-2): printable Latin-1 bytes stand for themselves, the others for the letters from U+0100 on.
    private static char ByteCharacter(int value)
    {
        static bool Printable(int b) => b is (>= '!' and <= '~') or (>= 0xA1 and <= 0xAC) or (>= 0xAE and <= 0xFF);
        return Printable(value) ? (char)value : (char)(0x100 + Enumerable.Range(0, value).Count(b => !Printable(b)));
    }

    private static void Save(string folder, string file, JsonObject json) =>
        File.WriteAllText(Path.Combine(folder, file), json.ToJsonString(Options));
}
