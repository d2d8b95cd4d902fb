using System.Text;
using System.Text.Json.Nodes;

namespace KvPrune.AI.Tests.Tokenization;

/// <summary>Byte-pair encoding over characters with byte fallback, as plainly as it can be written: an oracle.</summary>
internal sealed class CharacterReference
{
    private readonly Dictionary<string, int> _vocabulary;
    private readonly Dictionary<(string, string), int> _ranks = [];

    public CharacterReference(JsonObject tokenizer)
    {
        _vocabulary = tokenizer["model"]!["vocab"]!.AsObject().ToDictionary(entry => entry.Key, entry => entry.Value!.GetValue<int>());
        foreach (JsonNode? merge in tokenizer["model"]!["merges"]!.AsArray())
            _ranks.Add((merge![0]!.GetValue<string>(), merge[1]!.GetValue<string>()), _ranks.Count);
    }

    public IEnumerable<int> Encode(string text)
    {
        List<string> parts = [];
        foreach (Rune rune in text.EnumerateRunes())
        {
            if (_vocabulary.ContainsKey(rune.ToString()))
                parts.Add(rune.ToString());
            else
                parts.AddRange(Encoding.UTF8.GetBytes(rune.ToString()).Select(value => $"<0x{value:X2}>"));
        }

        while (parts.Count > 1)
        {
            int best = Enumerable.Range(0, parts.Count - 1).MinBy(i => _ranks.GetValueOrDefault((parts[i], parts[i + 1]), int.MaxValue));
            if (!_ranks.ContainsKey((parts[best], parts[best + 1])))
                break;
            parts[best] += parts[best + 1];
            parts.RemoveAt(best + 1);
        }

        return parts.Select(part => _vocabulary[part]);
    }
}
