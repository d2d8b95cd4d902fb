using System.Diagnostics;
using System.Text;
using System.Text.Json.Nodes;
using KvPrune.AI.Templates;
using KvPrune.AI.Tokenization;

namespace KvPrune.AI.Tests.Tokenization;

/// <summary>
/// Whatever is done to the bytes of a tokenizer.json: it loads and takes text both ways, or is refused by the typed
/// exception, soon.
/// </summary>
/// <remarks>
/// Two seconds unless KVPRUNE_FUZZ_SECONDS names more:
/// <c>KVPRUNE_FUZZ_SECONDS=600 dotnet tests/KvPrune.AI.Tests/bin/Release/net10.0/KvPrune.AI.Tests.dll
/// --filter-class "*Tokenization.LoaderFuzzTests"</c>. A failure prints its seed; KVPRUNE_FUZZ_SEED repeats it.
/// </remarks>
public sealed class LoaderFuzzTests
{
    private const string Text = "The  tower,\n<|end|> 你好 ▁e\u0301 𝟘12 <s>naïve <n>camelCase's\uFFFE\ud800 ";

    private static readonly TimeSpan Longest = TimeSpan.FromSeconds(10);

    // What the format is made of: values that mean something in another place.
    private static readonly string[] Words =
    [
        "null", "true", "false", "0", "-1", "1.5", "1e9", "99999999999", "\"\"", "\" \"", "{}", "[]", "[[]]", "\"▁\"", "\"\\ud800\"", "\"\\u0000\"",
        "\"BPE\"", "\"Unigram\"", "\"NFC\"", "\"Replace\"", "\"Prepend\"", "\"Sequence\"", "\"ByteLevel\"", "\"Metaspace\"", "\"Digits\"",
        "\"Split\"", "\"Strip\"", "\"Fuse\"", "\"Isolated\"", "\"Removed\"", "\"MergedWithNext\"", "\"first\"", "\"String\"", "\"Regex\"",
        "\"(a|b+)\"", "\"[^\\\\s\\\\p{L}]+\"", "\"\\\\s+(?!\\\\S)|\\\\p{N}{1,3}\"", "\"<0x41>\"", "\"a b\"", "[\"a\",\"b\"]",
    ];

    [Fact]
    public void Damaged_files_load_or_are_refused_by_the_typed_exception()
    {
        TimeSpan time = TimeSpan.FromSeconds(int.Parse(Environment.GetEnvironmentVariable("KVPRUNE_FUZZ_SECONDS") ?? "2"));
        int? seed = Environment.GetEnvironmentVariable("KVPRUNE_FUZZ_SEED") is { } text ? int.Parse(text) : null;
        byte[][] corpus = [.. GoldenFamilies.Names.Select(name => Encoding.UTF8.GetBytes(Small(GoldenFamilies.Json(name)).ToJsonString()))];
        string path = Path.GetTempFileName();
        int loaded = 0, refused = 0;
        var clock = Stopwatch.StartNew();
        try
        {
            for (int round = seed ?? 0; seed is null ? round < 200 || clock.Elapsed < time : round == seed; round++)
            {
                var random = new Random(round);
                byte[] bytes = Damage(corpus[round % corpus.Length], corpus[random.Next(corpus.Length)], random);
                File.WriteAllBytes(path, bytes);
                TimeSpan start = clock.Elapsed;
                try
                {
                    Use(HfTokenizer.Load(path));
                    loaded++;
                }
                catch (TokenizerFormatException exception)
                {
                    Assert.Equal(path, exception.File);
                    refused++;
                }
                catch (Exception exception)
                {
                    Assert.Fail($"Seed {round}: {exception}\n{Encoding.Latin1.GetString(bytes)}");
                }

                Assert.True(clock.Elapsed - start < Longest, $"Seed {round} took {clock.Elapsed - start}.");
            }
        }
        finally
        {
            File.Delete(path);
        }

        TestContext.Current.SendDiagnosticMessage($"{loaded} loaded, {refused} refused.");
        Assert.True(seed is not null || (loaded > 20 && refused > 20), $"The damage was one-sided: {loaded} loaded, {refused} refused.");
    }

    private static void Use(HfTokenizer tokenizer)
    {
        int[] ids = tokenizer.Encode(new RenderedPrompt(Text, [4..9, 20..30]));
        tokenizer.Decode(ids);
        StreamingDetokenizer detokenizer = tokenizer.CreateDetokenizer();
        foreach (int id in tokenizer.Encode(Text))
            detokenizer.Append(id);
        detokenizer.Flush();
    }

    // Few merges, and no tokens but those they need, so that damage hits every kind of entry.
    private static JsonObject Small(JsonObject root)
    {
        var merges = new JsonArray();
        foreach (JsonNode? merge in root["model"]!["merges"]!.AsArray().Take(8))
            merges.Add(merge!.DeepClone());
        root["model"]!["merges"] = merges;
        var vocabulary = (JsonObject)root["model"]!["vocab"]!;
        HashSet<string> needed = [.. merges.SelectMany(merge => (string[])[$"{merge![0]}", $"{merge[1]}", $"{merge[0]}{merge[1]}"])];
        int kept = root["decoder"]!["type"]!.GetValue<string>() == "ByteLevel" ? 256 : 259;
        foreach ((string token, JsonNode? id) in vocabulary.ToList())
        {
            if (id!.GetValue<int>() >= kept && !needed.Contains(token))
                vocabulary.Remove(token);
        }

        // Damage to what comes first is found first.
        JsonNode model = root["model"]!;
        root.Remove("model");
        root["model"] = model;
        return root;
    }

    private static byte[] Damage(byte[] original, byte[] other, Random random)
    {
        List<byte> bytes = [.. original];
        // Half of the damage is done before the vocabulary, which is most of the file.
        int head = original.AsSpan().IndexOf("\"vocab\""u8);
        for (int i = random.Next(1, 4); i > 0 && bytes.Count > 0; i--)
        {
            int at = random.Next(random.Next(2) == 0 ? Math.Min(head, bytes.Count) : bytes.Count);
            switch (random.Next(6))
            {
                case 0:
                    bytes[at] = (byte)random.Next(256);
                    break;
                case 1:
                    bytes.RemoveRange(at, Math.Min(random.Next(1, 40), bytes.Count - at));
                    break;
                case 2:
                    int from = random.Next(other.Length);
                    bytes.InsertRange(at, other.AsSpan(from, Math.Min(random.Next(1, 60), other.Length - from)).ToArray());
                    break;
                case 3:
                    bytes.RemoveRange(at, random.Next(8) == 0 ? bytes.Count - at : 0);
                    break;
                default:
                    ReplaceValue(bytes, at, Encoding.UTF8.GetBytes(Words[random.Next(Words.Length)]));
                    break;
            }
        }

        return [.. bytes];
    }

    // The next value or name: what stands between two of the characters that separate them.
    private static void ReplaceValue(List<byte> bytes, int at, byte[] value)
    {
        int start = bytes.FindIndex(at, character => character is (byte)':' or (byte)',' or (byte)'[');
        int end = start < 0 ? -1 : bytes.FindIndex(start + 1, character => character is (byte)':' or (byte)',' or (byte)'}' or (byte)']');
        if (end < 0)
            return;
        bytes.RemoveRange(start + 1, end - start - 1);
        bytes.InsertRange(start + 1, value);
    }
}
