using System.Text.Json;

namespace KvPrune.AI.Tokenization;

/// <summary>Reads the entry "normalizer" of a tokenizer.json.</summary>
internal static class NormalizerReader
{
    /// <exception cref="TokenizerFormatException">A step that is not supported, or not as it must be.</exception>
    public static Normalizer Read(JsonEntry? entry)
    {
        var steps = new List<Normalizer.Step>();
        if (entry is { } given)
        {
            given.RequireKind(JsonValueKind.Object);
            Add(given, steps);
        }

        return new Normalizer(steps);
    }

    private static void Add(JsonEntry entry, List<Normalizer.Step> steps)
    {
        switch (entry.Type)
        {
            case "Sequence":
                entry.Objects("normalizers").ForEach(step => Add(step, steps));
                break;
            case "Prepend":
                steps.Add(new Normalizer.Step.Prepend(entry.Text("prepend")));
                break;
            case "Replace":
                (string old, string @new) = ReadReplace(entry);
                steps.Add(new Normalizer.Step.Replace(old, @new));
                break;
            case "NFC":
                steps.Add(new Normalizer.Step.Compose());
                break;
            default:
                throw entry.Fail("type", $"only NFC, Prepend and Replace are supported, not {entry.Type}.");
        }
    }

    /// <summary>One string for another, in a normalizer or a decoder.</summary>
    public static (string Old, string New) ReadReplace(JsonEntry entry)
    {
        JsonEntry pattern = entry.Require("pattern", JsonValueKind.Object);
        string old = pattern.Text("String");
        return old.Length > 0 ? (old, entry.Text("content")) : throw pattern.Fail("String", "text is expected.");
    }
}
