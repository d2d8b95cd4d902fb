using System.Text.Json;
using KvPrune.AI.Templates.Jinja;

namespace KvPrune.AI.Templates;

/// <summary>Finds the chat template and the special tokens in a model folder.</summary>
internal static class TemplateFolder
{
    private const string ConfigurationName = "tokenizer_config.json";

    private static readonly string[] SpecialTokenNames =
        ["bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"];

    public static (TemplateSource Source, IReadOnlyDictionary<string, string> SpecialTokens) Read(string folder)
    {
        string templatePath = Path.Combine(folder, "chat_template.jinja");
        string configurationPath = Path.Combine(folder, ConfigurationName);
        TemplateSource? source =
            File.Exists(templatePath) ? new TemplateSource(templatePath, ReadText(templatePath)) : null;
        if (source is not null && !File.Exists(configurationPath))
            return (source, new Dictionary<string, string>());

        try
        {
            using JsonDocument document = JsonDocument.Parse(ReadText(configurationPath));
            JsonElement root = document.RootElement;
            if (root.ValueKind != JsonValueKind.Object)
                throw new ChatTemplateException(configurationPath, 0, "a JSON object is expected.");
            return (source ?? ReadTemplate(root, configurationPath), ReadSpecialTokens(root, configurationPath));
        }
        catch (JsonException exception)
        {
            throw new ChatTemplateException(
                configurationPath, 0, "this is not valid JSON. " + exception.Message, exception);
        }
        catch (InvalidOperationException exception)
        {
            // JsonElement reports escapes of unpaired surrogates this way, and only when the string is read.
            throw new ChatTemplateException(
                configurationPath, 0, "a string in it is not valid Unicode. " + exception.Message, exception);
        }
    }

    private static TemplateSource ReadTemplate(JsonElement root, string path)
    {
        if (!root.TryGetProperty("chat_template", out JsonElement entry) || entry.ValueKind == JsonValueKind.Null)
        {
            throw new ChatTemplateException(
                path, 0, "there is no entry 'chat_template', and no chat_template.jinja beside the file.");
        }

        if (entry.ValueKind == JsonValueKind.Array)
            entry = FindDefault(entry, path);
        return entry.ValueKind == JsonValueKind.String
            ? new TemplateSource($"{path} (chat_template)", entry.GetString()!)
            : throw new ChatTemplateException(
                path, 0, $"the entry 'chat_template' is text or a list, not {entry.ValueKind}.");
    }

    private static JsonElement FindDefault(JsonElement templates, string path)
    {
        foreach (JsonElement template in templates.EnumerateArray())
        {
            if (template.ValueKind == JsonValueKind.Object
                && template.TryGetProperty("name", out JsonElement name) && name.ValueKind == JsonValueKind.String
                && name.GetString() == "default"
                && template.TryGetProperty("template", out JsonElement text))
            {
                return text;
            }
        }

        throw new ChatTemplateException(path, 0, "none of the templates in 'chat_template' is named 'default'.");
    }

    private static Dictionary<string, string> ReadSpecialTokens(JsonElement root, string path)
    {
        var tokens = new Dictionary<string, string>();
        foreach (string name in SpecialTokenNames)
        {
            if (!root.TryGetProperty(name, out JsonElement value) || value.ValueKind == JsonValueKind.Null)
                continue;
            if (value.ValueKind == JsonValueKind.Object && value.TryGetProperty("content", out JsonElement content))
                value = content;
            tokens[name] = value.ValueKind == JsonValueKind.String
                ? value.GetString()!
                : throw new ChatTemplateException(
                    path, 0, $"the entry '{name}' is text or has 'content', not {value.ValueKind}.");
        }

        return tokens;
    }

    private static string ReadText(string path)
    {
        try
        {
            return File.ReadAllText(path);
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            throw new ChatTemplateException(path, 0, "the file cannot be read. " + exception.Message, exception);
        }
    }
}
