using System.Text.Json;

namespace KvPrune.ModelBuilder.Tests;

public sealed class BundledModelTests
{
    // Two fp32 forwards that sum in different orders: 1e-5 was seen, on logits of up to about 20.
    private const double Tolerance = 1e-4;
    private const int EndOfTurn = 3_071;

    [Fact]
    public void Last_position_logits_equal_the_reference_forward()
    {
        using var reference = Reference("reference_logits.json");
        var root = reference.RootElement;
        var ids = Ids(root, "input_ids");
        float[] expected = [.. root.GetProperty("last_position_logits").EnumerateArray().Select(e => e.GetSingle())];
        using var decoder = new StockDecoder(Repository.BundledModel);

        var actual = decoder.Append(ids);

        Assert.Equal(expected.Length, actual.Length);
        var worst = expected.Zip(actual, (e, a) => Math.Abs(e - a)).Max();
        Assert.True(worst < Tolerance, $"The largest difference is {worst}.");
        Assert.Equal(Best(expected, 5), Best(actual, 5));
        Assert.Equal(root.GetProperty("argmax").GetInt32(), StockDecoder.ArgMax(actual));
    }

    [Fact]
    public void Greedy_answers_are_the_facts_of_the_document()
    {
        using var reference = Reference("greedy_answers.json");
        foreach (var sample in reference.RootElement.GetProperty("samples").EnumerateArray())
        {
            using var decoder = new StockDecoder(Repository.BundledModel);

            var answer = decoder.Greedy(Ids(sample, "input_ids"), limit: 16, EndOfTurn);

            Assert.True(Ids(sample, "answer_ids").SequenceEqual(answer), $"{sample.GetProperty("question")} {string.Join(" ", answer)}");
        }
    }

    [Fact]
    public void A_prompt_in_pieces_gives_the_logits_of_the_whole_one()
    {
        using var reference = Reference("reference_logits.json");
        var ids = Ids(reference.RootElement, "input_ids");
        using var whole = new StockDecoder(Repository.BundledModel);
        using var pieces = new StockDecoder(Repository.BundledModel);

        pieces.Append(ids[..200]);
        pieces.Append(ids[200..437]);
        var last = pieces.Append(ids[437..]);

        Assert.True(whole.Append(ids).Zip(last, (a, b) => Math.Abs(a - b)).Max() < Tolerance);
    }

    [Fact]
    public void The_folder_is_complete_and_small()
    {
        string[] files =
            ["README.md", "genai_config.json", "model.onnx", "model.onnx.data", "special_tokens_map.json", "tokenizer.json", "tokenizer_config.json"];

        Assert.Equal(files, Directory.GetFiles(Repository.BundledModel).Select(Path.GetFileName).Order(StringComparer.Ordinal));
        Assert.True(Directory.GetFiles(Repository.BundledModel, "*", SearchOption.AllDirectories).Sum(f => new FileInfo(f).Length) < 25_000_000);
    }

    private static JsonDocument Reference(string file) =>
        JsonDocument.Parse(File.ReadAllBytes(Path.Combine(Repository.BundledModel, "reference", file)));

    private static int[] Ids(JsonElement element, string property) =>
        [.. element.GetProperty(property).EnumerateArray().Select(e => e.GetInt32())];

    private static int[] Best(float[] logits, int count) =>
        [.. Enumerable.Range(0, logits.Length).OrderByDescending(i => logits[i]).Take(count)];
}
