using System.CommandLine;
using KvPrune.AI;
using KvPrune.OnnxOps;
using LongDocumentChat;

var document = new Option<FileInfo?>("--document")
{
    Description = "A text file to chat about instead of the bundled document.",
    HelpName = "file",
};
var questions = new Option<string[]>("--question")
{
    Description = "A question about the document; may be repeated. With --document and without it, questions are read from the terminal or standard input.",
    HelpName = "text",
    DefaultValueFactory = _ => [],
};
var model = new Option<DirectoryInfo?>("--model")
{
    Description = "A model folder in ONNX Runtime GenAI's format. [default: the bundled model]",
    HelpName = "folder",
};
var policy = new Option<string>("--policy")
{
    Description = $"How the KV cache is pruned: {string.Join(", ", PruningPolicy.Presets.Keys)}.",
    HelpName = "preset",
    DefaultValueFactory = _ => "compact",
};
var runtime = new Option<DecoderRuntimeKind>("--runtime")
{
    Description = "What runs the model: auto, onnxruntime or genai.",
    HelpName = "name",
    DefaultValueFactory = _ => DecoderRuntimeKind.Auto,
};
var genaiFolder = new Option<DirectoryInfo?>("--genai-folder")
{
    Description = "The folder of ONNX Runtime GenAI's native library. [default: where its package puts it]",
    HelpName = "folder",
};
var json = new Option<bool>("--json")
{
    Description = "Ask the bundled questions and print the result as one JSON object and nothing else.",
};

var root = new RootCommand(
    "Chats about a long document with a pruned KV cache. Without --document and --question it asks bundled questions "
    + "about a bundled document, with the cache pruned and unpruned, and compares the two.")
{
    document, questions, model, policy, runtime, genaiFolder, json,
};
root.Validators.Add(result =>
{
    if (result.GetValue(json) && (result.GetValue(document) is not null || result.GetValue(questions) is { Length: > 0 }))
        result.AddError("--json reports on the bundled questions; it does not go with --document or --question.");
});
root.SetAction((parsed, cancellationToken) => Application.RunAsync(
    new ApplicationOptions(
        parsed.GetValue(document)?.FullName,
        parsed.GetValue(questions)!,
        parsed.GetValue(model)?.FullName ?? Path.Combine(AppContext.BaseDirectory, "models", "tiny-retrieval-llama"),
        parsed.GetValue(policy)!,
        parsed.GetValue(runtime),
        parsed.GetValue(genaiFolder)?.FullName,
        parsed.GetValue(json)),
    cancellationToken));

var command = root.Parse(args);
if (command.Errors.Count > 0)
{
    foreach (var error in command.Errors)
        Console.Error.WriteLine(error.Message);
    Console.Error.WriteLine("Try --help.");
    return 2;
}

return await command.InvokeAsync();
