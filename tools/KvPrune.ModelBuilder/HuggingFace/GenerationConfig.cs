namespace KvPrune.ModelBuilder.HuggingFace;

/// <summary>Special tokens and sampling: what generation_config.json says goes before config.json, as Transformers has it.</summary>
internal static class GenerationConfig
{
    public static ModelSettings Load(string folder, JsonFile config, int vocabulary)
    {
        var path = Path.Combine(folder, "generation_config.json");
        var generation = File.Exists(path) ? JsonFile.Load(path) : null;
        IReadOnlyList<int>? Ids(string property) => generation?.FindIds(property) ?? config.FindIds(property);

        var eos = Ids("eos_token_id") ?? throw config.Wrong("eos_token_id", "the property is missing; a chat could never end.");
        var tokens = new SpecialTokens((Ids("bos_token_id") ?? [1])[0], eos, (Ids("pad_token_id") ?? eos)[0]);
        foreach (var id in (int[])[tokens.Bos, .. eos, tokens.Pad])
        {
            if ((uint)id >= (uint)vocabulary)
                throw config.Wrong("vocab_size", $"the special token {id} lies outside the {vocabulary} token ids.");
        }

        return new ModelSettings(tokens, generation is null ? SearchSettings.Default : ReadSearch(generation, vocabulary));
    }

    private static SearchSettings ReadSearch(JsonFile generation, int vocabulary)
    {
        var standard = SearchSettings.Default;
        var topK = generation.FindInt("top_k") ?? standard.TopK;
        if (topK < 0)
            throw generation.Wrong("top_k", $"{topK} is below 0.");
        return new SearchSettings(
            generation.Flag("do_sample", standard.Sample),
            Number("temperature", standard.Temperature, largest: double.MaxValue),
            // 0 means no limit in Transformers; other programs want a number of tokens.
            topK == 0 ? vocabulary : topK,
            Number("top_p", standard.TopP, largest: 1),
            Number("repetition_penalty", standard.RepetitionPenalty, largest: double.MaxValue));

        double Number(string property, double whenMissing, double largest)
        {
            if (generation.Find(property) is not { } value)
                return whenMissing;
            var number = generation.Double(value, property);
            return number > 0 && number <= largest ? number : throw generation.Wrong(property, $"{value} is out of range.");
        }
    }
}
