using System.Text.Json;

namespace KvPrune.AI.Tokenization;

/// <summary>Reads and checks a tokenizer.json.</summary>
internal static class TokenizerFileReader
{
    /// <exception cref="TokenizerFormatException">Anything that is not as it must be.</exception>
    public static TokenizerFile Read(string path)
    {
        try
        {
            using JsonDocument document = JsonDocument.Parse(File.ReadAllBytes(path));
            return Read(new JsonEntry(path, "", document.RootElement));
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            throw new TokenizerFormatException(path, "", "the file cannot be read. " + exception.Message, exception);
        }
        catch (JsonException exception)
        {
            throw new TokenizerFormatException(path, "", "this is not valid JSON. " + exception.Message, exception);
        }
        catch (InvalidOperationException exception)
        {
            // JsonElement reports escapes of unpaired surrogates this way, and only when the string is read.
            throw new TokenizerFormatException(
                path, "", "a string in it is not valid Unicode. " + exception.Message, exception);
        }
    }

    private static TokenizerFile Read(JsonEntry root)
    {
        if (root.Element.ValueKind != JsonValueKind.Object)
            throw new TokenizerFormatException(root.File, "the top level", $"Object is expected, not {root.Element.ValueKind}.");
        JsonEntry model = root.Require("model", JsonValueKind.Object);
        BytePairModelReader.RequireKind(model);
        PieceDecoder decoder = PieceDecoderReader.Read(root.Require("decoder", JsonValueKind.Object));
        List<AddedToken> addedTokens = ReadAddedTokens(root);
        return new TokenizerFile
        {
            AddedTokens = addedTokens,
            Normalizer = NormalizerReader.Read(root.Find("normalizer")),
            PreTokenizer = PreTokenizerReader.Read(root, decoder.IsByteLevel),
            Model = new BytePairModelReader(model, addedTokens, decoder.IsByteLevel).Read(),
            Decoder = decoder,
        };
    }

    private static List<AddedToken> ReadAddedTokens(JsonEntry root)
    {
        var tokens = new List<AddedToken>();
        if (root.Find("added_tokens") is null)
            return tokens;

        var contents = new HashSet<string>();
        var ids = new HashSet<int>();
        foreach (JsonEntry item in root.Objects("added_tokens"))
        {
            string content = item.Text("content");
            int id = item.TokenId("id");
            if (content.Length == 0)
                throw item.Fail("content", "a token needs text.");
            if (!contents.Add(content))
                throw item.Fail("content", $"the token '{content}' is there twice.");
            if (!ids.Add(id))
                throw item.Fail("id", $"the id {id} is there twice.");

            tokens.Add(new AddedToken(
                content,
                id,
                TakesSpaceBefore: item.Flag("lstrip"),
                TakesSpaceAfter: item.Flag("rstrip"),
                StandsAlone: item.Flag("single_word"),
                InNormalised: item.Flag("normalized"),
                IsSpecial: item.Flag("special")));
        }

        return tokens;
    }
}
