using System.Text.Json;
using KvPrune.AI.Chat;
using KvPrune.AI.Engine;
using KvPrune.AI.Models;
using KvPrune.AI.Templates;
using KvPrune.AI.Tokenization;
using KvPrune.OnnxOps;
using KvPrune.OnnxOps.Rewriting;
using Microsoft.Extensions.AI;
using Microsoft.Extensions.DependencyInjection;
using Spectre.Console;

namespace LongDocumentChat;

/// <summary>Sets up the chat client and runs what the command line asks for.</summary>
internal static class Application
{
    private const int RedirectedWidth = 200;
    private const int WarmUpCharacters = 2000;
    private const int Failed = 1;
    private const int Cancelled = 130;

    /// <summary>Returns the exit code.</summary>
    public static async Task<int> RunAsync(ApplicationOptions options, CancellationToken cancellationToken)
    {
        if (!PruningPolicy.Presets.TryGetValue(options.PolicyName, out var policy))
        {
            await Console.Error.WriteLineAsync(
                $"No pruning policy is called '{options.PolicyName}'. There are: {string.Join(", ", PruningPolicy.Presets.Keys.Order(StringComparer.Ordinal))}.");
            return Failed;
        }

        try
        {
            var document = await BundledDocument.ReadAsync(options.DocumentFile, cancellationToken);

            // All that an application needs: the registration, then IChatClient from the container.
            var services = new ServiceCollection();
            services.AddKvPrunedChatClient(o =>
            {
                o.ModelPath = options.ModelFolder;
                o.Policy = policy;
                o.Runtime = options.Runtime;
                o.GenAILibraryFolder = options.GenAIFolder;
            });
            await using var provider = services.BuildServiceProvider();
            var client = provider.GetRequiredService<IChatClient>();

            if (options.DocumentFile is not null || options.Questions.Count > 0)
                return await ChatAsync(client, document, policy, options, cancellationToken) ? 0 : Failed;
            await CompareAsync(client, document, policy, options, cancellationToken);
            return 0;
        }
        catch (OperationCanceledException)
        {
            await Console.Error.WriteLineAsync("Cancelled.");
            return Cancelled;
        }
        catch (Exception e) when (IsExplained(e))
        {
            await Console.Error.WriteLineAsync(e.Message);
            return Failed;
        }
    }

    private static async Task CompareAsync(
        IChatClient client, string document, PruningPolicy policy, ApplicationOptions options, CancellationToken cancellationToken)
    {
        var questions = await BundledDocument.ReadQuestionsAsync(cancellationToken);
        var view = new ChatView(options.Json ? SilentConsole() : VisibleConsole());
        // The first requests also compile code and fill the runtime's pools, which neither side should be charged with.
        var opening = document[..Math.Min(document.Length, WarmUpCharacters)];
        foreach (var warmUp in new[] { policy, PruningPolicy.Dense })
            await client.GetResponseAsync($"{opening}\n{questions[^1].Question}", new ChatOptions().WithPruningPolicy(warmUp), cancellationToken);

        var pruned = await Examination.RunAsync(options.PolicyName, new DocumentChat(client, document, policy), questions, view, cancellationToken);
        var dense = await Examination.RunAsync("dense", new DocumentChat(client, document, PruningPolicy.Dense), questions, view, cancellationToken);
        if (options.Json)
            await Console.Out.WriteLineAsync(JsonSerializer.Serialize(ComparisonReport.Create(pruned, dense)));
        else
            view.ShowComparison(pruned, dense);
    }

    // Returns whether all questions were answered. One that is not, too long for example, does not end the conversation.
    private static async Task<bool> ChatAsync(
        IChatClient client, string document, PruningPolicy policy, ApplicationOptions options, CancellationToken cancellationToken)
    {
        var view = new ChatView(VisibleConsole());
        var chat = new DocumentChat(client, document, policy);
        var questions = options.Questions.Count > 0 ? options.Questions.ToAsyncEnumerable() : view.ReadQuestionsAsync(cancellationToken);
        var allAnswered = true;
        await foreach (var question in questions)
        {
            try
            {
                await view.AskAsync(chat, question, cancellationToken);
            }
            catch (Exception e) when (IsExplained(e))
            {
                await Console.Error.WriteLineAsync(e.Message);
                allAnswered = false;
            }
        }

        view.ShowStatistics(chat);
        return allAnswered;
    }

    private static IAnsiConsole VisibleConsole()
    {
        // A file has no width to break lines at.
        if (Console.IsOutputRedirected)
            AnsiConsole.Profile.Width = Math.Max(AnsiConsole.Profile.Width, RedirectedWidth);
        return AnsiConsole.Console;
    }

    private static IAnsiConsole SilentConsole() => AnsiConsole.Create(new AnsiConsoleSettings
    {
        Out = new AnsiConsoleOutput(TextWriter.Null),
        Ansi = AnsiSupport.No,
        Interactive = InteractionSupport.No,
    });

    // Failures whose message tells the user what to change. Anything else is a defect and keeps its stack trace.
    private static bool IsExplained(Exception e) => e
        is IOException
        or UnauthorizedAccessException
        or ArgumentException
        or JsonException
        or DllNotFoundException
        or Microsoft.Extensions.Options.OptionsValidationException
        or ModelFolderException
        or ModelRewriteException
        or TokenizerFormatException
        or ChatTemplateException
        or PromptTooLongException
        or KvBudgetExceededException
        or KvCacheException
        or GenerationException;
}
