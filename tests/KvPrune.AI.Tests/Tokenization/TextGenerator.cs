using System.Text;

namespace KvPrune.AI.Tests.Tokenization;

/// <summary>Random lines over scripts, emoji, code, white space and control characters, from a fixed seed.</summary>
internal sealed class TextGenerator(int seed)
{
    private static readonly string[] Words =
    [
        "the", "The", "we'll", "I'm", "DON'T", "it's", "'s", "''re", "x'd", "café", "naïve", "Straße", "résumé", "Ελλάδα", "Привет", "мир",
        "שלום", "مرحبا", "नमस्ते", "สวัสดี", "你好世界", "こんにちは", "カタカナ", "한국어", "ქართული", "አማርኛ", "Tiếng", "e\u0301\u0323",
        "𝐀𝐁𝐜", "𐍈𐌰", "𠀀𠀁", "𝟘𝟙𝟚", "𐄇𐄈", "①②", "Ⅷ", "½", "٣٤٥", "१२", "1234567", "3.14", "0x1F", "20,000",
        "😀", "👩‍👩‍👧", "🇩🇪", "❤️", "🏳️‍🌈", "…", "—", "“quoted”", "€100", "±", "\u00AD", "\u200B", "\uFEFF", "\uFFFD", "\uE000", "\U0010FFFF",
        "if(x==1){return;}", "foo_bar->baz", "\\n\\t", "<|end|>", "<unk>", "</s>", "[[[", "=====", "/*--*/", "#!/bin/sh", "a.b.c", "{{ m }}",
        "\u0000", "\u0001\u0002", "\u001b[31m", "\u007f", "\u0085", "\u001c",
    ];

    private static readonly string[] Gaps =
        [" ", " ", " ", " ", "  ", "   ", "\n", "\n\n", "\r\n", "\t", " \n ", "\u00a0", "\u3000", "\u2003 ", "\v\f", "", "", " \t \n\n  "];

    private readonly Random _random = new(seed);

    public string Line()
    {
        var line = new StringBuilder();
        int words = _random.Next(0, 12);
        for (int i = 0; i < words; i++)
        {
            line.Append(Pick(Gaps));
            line.Append(_random.Next(6) == 0 ? RandomRunes() : Pick(Words));
        }

        return line.Append(Pick(Gaps)).ToString();
    }

    public string RandomRunes()
    {
        var text = new StringBuilder();
        for (int i = _random.Next(1, 6); i > 0; i--)
        {
            int limit = Pick([0x80, 0x250, 0x3000, 0x10000, 0x20000, 0x110000]);
            int value = _random.Next(limit);
            text.Append(Rune.IsValid(value) ? new Rune(value) : new Rune('?'));
        }

        return text.ToString();
    }

    public T Pick<T>(IReadOnlyList<T> choices) => choices[_random.Next(choices.Count)];

    public int Next(int limit) => _random.Next(limit);
}
