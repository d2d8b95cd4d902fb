using System.Text.Json;

namespace KvPrune.AI.Tokenization;

/// <summary>Reads the entry "decoder" of a tokenizer.json.</summary>
internal static class PieceDecoderReader
{
    private static readonly string[] Order = ["Replace", "ByteFallback", "Fuse", "Strip"];

    /// <exception cref="TokenizerFormatException">A step that is not supported, or not as it must be.</exception>
    public static PieceDecoder Read(JsonEntry entry)
    {
        if (entry.Type == "ByteLevel")
            return new PieceDecoder { IsByteLevel = true };
        if (entry.Type != "Sequence")
            throw entry.Fail("type", $"only ByteLevel and Sequence are supported, not {entry.Type}.");

        var replacements = new List<(string Old, string New)>();
        bool hasByteTokens = false, isFused = false;
        int leadingSpaces = 0;
        int reached = 0;
        foreach (JsonEntry step in entry.Objects("decoders"))
        {
            int place = Array.IndexOf(Order, step.Type);
            if (place < reached)
                throw step.Fail("type", $"{string.Join(", ", Order)} are supported, in this order, not {step.Type} here.");
            reached = place;
            switch (step.Type)
            {
                case "Replace":
                    replacements.Add(NormalizerReader.ReadReplace(step));
                    break;
                case "ByteFallback":
                    hasByteTokens = true;
                    break;
                case "Fuse":
                    isFused = true;
                    break;
                default:
                    leadingSpaces += isFused ? ReadStrip(step) : throw step.Fail("type", "Strip is supported after Fuse only.");
                    break;
            }
        }

        return new PieceDecoder
        {
            IsByteLevel = false,
            Replacements = replacements,
            HasByteTokens = hasByteTokens,
            LeadingSpaces = leadingSpaces,
        };
    }

    private static int ReadStrip(JsonEntry step)
    {
        if (step.Text("content") != " ")
            throw step.Fail("content", "only a space is supported.");
        if (Count(step, "stop") != 0)
            throw step.Fail("stop", "only 0 is supported: text that streams has no known end.");
        return Count(step, "start");
    }

    private static int Count(JsonEntry step, string name)
    {
        JsonEntry entry = step.Require(name, JsonValueKind.Number);
        return entry.Element.TryGetInt32(out int value) && value is >= 0 and <= 1000
            ? value
            : throw entry.Fail($"a number of characters is expected, not {entry.Quoted}.");
    }
}
