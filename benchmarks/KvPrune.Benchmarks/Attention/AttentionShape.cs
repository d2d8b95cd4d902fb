using System.Globalization;
using KvPrune.OnnxOps;

namespace KvPrune.Benchmarks.Attention;

/// <summary>Heads of one attention layer, written as query heads/KV heads/head size: 32/8/64.</summary>
public sealed record AttentionShape(int QueryHeads, int KvHeads, int HeadSize)
{
    /// <summary>Floats of one token's query.</summary>
    public int QueryWidth => QueryHeads * HeadSize;

    /// <summary>Floats of one token's key, and of its value.</summary>
    public int KvWidth => KvHeads * HeadSize;

    /// <summary>Reads the form that <see cref="ToString"/> writes.</summary>
    /// <exception cref="FormatException">The text has another form or names an impossible shape.</exception>
    public static AttentionShape Parse(string text)
    {
        ArgumentNullException.ThrowIfNull(text);
        var parts = text.Split('/');
        if (parts.Length == 3 && Positive(parts[0], out var heads) && Positive(parts[1], out var kvHeads)
            && Positive(parts[2], out var size) && heads % kvHeads == 0)
        {
            return new AttentionShape(heads, kvHeads, size);
        }

        throw new FormatException($"'{text}' is no shape: QUERYHEADS/KVHEADS/HEADSIZE, such as 32/8/64, with KV heads that divide the query heads.");
    }

    /// <summary>What the cache manager has to know of a model with this one layer.</summary>
    public KvModelShape ToModelShape(int maxTokens) => new(1, QueryHeads, KvHeads, HeadSize, maxTokens);

    /// <inheritdoc/>
    public override string ToString() => $"{QueryHeads}/{KvHeads}/{HeadSize}";

    private static bool Positive(string text, out int value) =>
        int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out value) && value > 0;
}
