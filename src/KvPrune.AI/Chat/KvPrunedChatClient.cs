using System.Runtime.CompilerServices;
using KvPrune.AI.DependencyInjection;
using KvPrune.AI.Engine;
using KvPrune.AI.Sampling;
using KvPrune.AI.Templates;
using KvPrune.AI.Tokenization;
using Microsoft.Extensions.AI;
using Microsoft.Extensions.Logging;

namespace KvPrune.AI.Chat;

/// <summary>
/// Chats with a local model whose KV cache is pruned. Safe for use from several threads; requests run concurrently.
/// </summary>
/// <remarks>
/// The client keeps no conversations: send all messages each time. What an earlier request left in the KV cache is used
/// again and reported as CachedInputTokenCount. Temperature, TopK and TopP are read as <see cref="Sampling.SamplingOptions"/>
/// describes, which ChatOptions.RawRepresentationFactory may return too; a result of another type is ignored. The logit bias
/// of single tokens is AdditionalProperties["logit_bias"], a dictionary of token ids or a JSON object. A JSON ResponseFormat
/// is enforced by the runtime GenAI and refused by the other one. The ModelId of another model is refused. A stop sequence
/// that is the text of a special token also stops at that token. Tools are offered if the chat template uses them; calls
/// come at the end of an answer, all at once.
/// </remarks>
public sealed class KvPrunedChatClient : IChatClient
{
    private readonly ChatModel _model;
    private readonly bool _ownsModel;
    private readonly ChatClientMetadata _metadata;

    /// <summary>Loads a model folder.</summary>
    /// <param name="options">At least <see cref="KvPruneOptions.ModelPath"/>.</param>
    /// <param name="loggerFactory">Receives what the engine logs.</param>
    /// <exception cref="ArgumentException">An option cannot be used; all such are named.</exception>
    /// <exception cref="Models.ModelFolderException">The folder is incomplete, broken or contradicts itself.</exception>
    /// <exception cref="Tokenization.TokenizerFormatException">tokenizer.json cannot be used.</exception>
    /// <exception cref="ChatTemplateException">The chat template cannot be used.</exception>
    /// <exception cref="OnnxOps.ModelRewriteException">The graph holds what the pruned operator cannot do.</exception>
    /// <exception cref="OnnxOps.KvCacheException">The cache manager cannot serve a model of this shape.</exception>
    /// <exception cref="DllNotFoundException">The native library is missing or does not load.</exception>
    public KvPrunedChatClient(KvPruneOptions options, ILoggerFactory? loggerFactory = null)
        : this(Load(options, loggerFactory), ownsModel: true)
    {
    }

    internal KvPrunedChatClient(ChatModel model, bool ownsModel)
    {
        _model = model;
        _ownsModel = ownsModel;
        _metadata = new ChatClientMetadata("kvprune", providerUri: null, model.Engine.ModelId);
    }

    /// <inheritdoc/>
    public Task<ChatResponse> GetResponseAsync(
        IEnumerable<ChatMessage> messages, ChatOptions? options = null, CancellationToken cancellationToken = default) =>
        CollectAsync(GetStreamingResponseAsync(messages, options, cancellationToken), cancellationToken);

    /// <inheritdoc/>
    /// <exception cref="ArgumentNullException"><paramref name="messages"/> is null.</exception>
    /// <exception cref="ArgumentException">There are no messages, one holds null, or an option is out of its range.</exception>
    /// <exception cref="NotSupportedException">A message or an option asks for what the client cannot do.</exception>
    /// <remarks>
    /// While the answer is awaited also <see cref="PromptTooLongException"/>, <see cref="KvBudgetExceededException"/>,
    /// <see cref="ChatTemplateException"/>, <see cref="GenerationException"/>, for a grammar that cannot be used
    /// <see cref="ArgumentException"/> or <see cref="NotSupportedException"/>, and <see cref="TokenizerFormatException"/>
    /// where a pattern of tokenizer.json takes too long on the prompt.
    /// </remarks>
    public IAsyncEnumerable<ChatResponseUpdate> GetStreamingResponseAsync(
        IEnumerable<ChatMessage> messages, ChatOptions? options = null, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(messages);
        // Read now: what the caller does to messages and options later must not reach into a running request.
        List<TemplateMessage> prompt = ChatMessageReader.Read(messages, options?.Instructions, _model.Tools);
        return StreamAsync(prompt, ChatRequestSettings.Read(options, _model, this), cancellationToken);
    }

    /// <inheritdoc/>
    public object? GetService(Type serviceType, object? serviceKey = null)
    {
        ArgumentNullException.ThrowIfNull(serviceType);
        return serviceKey is not null ? null
            : serviceType == typeof(ChatClientMetadata) ? _metadata
            : serviceType == typeof(InferenceEngine) ? _model.Engine
            : serviceType.IsInstanceOfType(this) ? this
            : null;
    }

    /// <summary>Unloads the model if this client loaded it; unfinished answers end with an ObjectDisposedException.</summary>
    public void Dispose()
    {
        if (_ownsModel) _model.Dispose();
    }

    private static ChatModel Load(KvPruneOptions options, ILoggerFactory? loggers)
    {
        ArgumentNullException.ThrowIfNull(options);
        string[] problems = [.. KvPruneOptionsValidator.Problems(options)];
        return problems.Length == 0
            ? ChatModel.Load(options, loggers)
            : throw new ArgumentException(string.Join(' ', problems), nameof(options));
    }

    private static async Task<ChatResponse> CollectAsync(
        IAsyncEnumerable<ChatResponseUpdate> updates, CancellationToken cancellationToken)
    {
        ChatResponse response = await updates.ToChatResponseAsync(cancellationToken).ConfigureAwait(false);
        response.LiftStatistics();
        return response;
    }

    private async IAsyncEnumerable<ChatResponseUpdate> StreamAsync(
        List<TemplateMessage> messages, ChatRequestSettings settings, [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        // Rendering and encoding a long document takes long enough to leave the caller's thread.
        (PromptBuilder.Prompt prompt, IGuidedSampler? guided) = await Task.Run(() => Prepare(messages, settings, cancellationToken), cancellationToken).ConfigureAwait(false);
        using var abandoned = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        var updates = new UpdateFactory(_model.Engine.ModelId);
        ToolCallScanner? scanner = settings.Tools is { } tools ? new ToolCallScanner(tools.Format, tools.Names) : null;
        GenerationRequest request = Submit(prompt, guided, settings, abandoned.Token);
        try
        {
            await foreach (GenerationEvent generationEvent in request.Events.ReadAllAsync(cancellationToken).ConfigureAwait(false))
            {
                switch (generationEvent)
                {
                    case GenerationEvent.Prefilled read:
                        settings.Progress?.Report(read.Progress);
                        break;
                    case GenerationEvent.Text text:
                        string shown = scanner?.Append(text.Value) ?? text.Value;
                        if (shown.Length > 0) yield return updates.Text(shown);
                        break;
                    case GenerationEvent.Finished finished:
                        if (scanner?.Finish() is { Length: > 0 } rest) yield return updates.Text(rest);
                        yield return updates.Last(finished, scanner?.Calls ?? []);
                        break;
                }
            }
        }
        finally
        {
            await abandoned.CancelAsync().ConfigureAwait(false); // the caller left early, or the request has ended anyway
        }
    }

    // Also a grammar takes long to read, so answers under way must not wait for it.
    private (PromptBuilder.Prompt Prompt, IGuidedSampler? Guided) Prepare(
        List<TemplateMessage> messages, ChatRequestSettings settings, CancellationToken cancellation)
    {
        PromptBuilder.Prompt prompt = _model.Prompts.Build(
            messages, settings.Tools?.Schemas, shareDocuments: !settings.Policy.IsQueryAware, cancellation);
        return (prompt, settings.Guidance is { } guidance ? _model.Engine.Guide(guidance, settings.Sampling) : null);
    }

    private GenerationRequest Submit(
        PromptBuilder.Prompt prompt, IGuidedSampler? guided, ChatRequestSettings settings, CancellationToken cancellation)
    {
        try
        {
            GenerationRequest request = CreateRequest(prompt, guided, settings, cancellation);
            _model.Engine.Submit(request);
            return request;
        }
        catch
        {
            guided?.Dispose();
            throw;
        }
    }

    private GenerationRequest CreateRequest(
        PromptBuilder.Prompt prompt, IGuidedSampler? guided, ChatRequestSettings settings, CancellationToken cancellation)
    {
        IStreamingDetokenizer detokenizer = _model.Tokenizer.CreateDetokenizer();
        return new GenerationRequest
        {
            Prompt = prompt.Tokens,
            SegmentEnds = prompt.SegmentEnds,
            Policy = settings.Policy,
            Sampling = settings.Sampling,
            Guided = guided,
            MaxOutputTokens = settings.MaxOutputTokens,
            EndTokens = _model.SpecialTokens(settings.StopSequences),
            Text = new AnswerText(Decoder(detokenizer, settings.Tools?.Format), detokenizer.Flush, settings.StopSequences),
            Cancellation = cancellation,
        };
    }

    // The marks of calls may be special tokens, which otherwise give no text.
    private Func<int, string> Decoder(IStreamingDetokenizer detokenizer, ToolCallFormat? format)
    {
        Dictionary<int, string> marks = [];
        foreach (string? mark in (string?[])[format?.Opening, format?.Closing])
        {
            if (mark is not null && _model.Tokenizer.SpecialTokens.TryGetValue(mark, out int id)) marks[id] = mark;
        }
        return id => marks.TryGetValue(id, out string? mark) ? detokenizer.Interrupt() + mark : detokenizer.Append(id);
    }
}
