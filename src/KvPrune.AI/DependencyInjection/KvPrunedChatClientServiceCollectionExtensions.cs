using KvPrune.AI;
using KvPrune.AI.Chat;
using KvPrune.AI.DependencyInjection;
using Microsoft.Extensions.AI;
using Microsoft.Extensions.DependencyInjection.Extensions;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Options;

// The namespace that makes AddKvPrunedChatClient visible wherever services are registered.
namespace Microsoft.Extensions.DependencyInjection;

/// <summary>Registers chat clients over local models with a pruned KV cache.</summary>
public static class KvPrunedChatClientServiceCollectionExtensions
{
    /// <summary>
    /// Registers an <see cref="IChatClient"/> over a model folder. The model is loaded once, when the client is first
    /// resolved; the options are validated when the host starts, or else then.
    /// </summary>
    /// <param name="services">The services.</param>
    /// <param name="configure">Sets at least <see cref="KvPruneOptions.ModelPath"/>.</param>
    /// <param name="lifetime">The client's lifetime; clients of one registration share the loaded model in any case.</param>
    /// <returns>A builder that adds middleware: logging, function invocation, caching.</returns>
    public static ChatClientBuilder AddKvPrunedChatClient(
        this IServiceCollection services, Action<KvPruneOptions> configure, ServiceLifetime lifetime = ServiceLifetime.Singleton)
    {
        Func<IServiceProvider, IChatClient> factory = Register(services, configure);
        return services.AddChatClient(factory, lifetime);
    }

    /// <summary>Registers a keyed <see cref="IChatClient"/> over a model folder.</summary>
    /// <param name="services">The services.</param>
    /// <param name="serviceKey">The client's key.</param>
    /// <inheritdoc cref="AddKvPrunedChatClient"/>
    /// <param name="configure">Sets at least <see cref="KvPruneOptions.ModelPath"/>.</param>
    /// <param name="lifetime">The client's lifetime; clients of one registration share the loaded model in any case.</param>
    public static ChatClientBuilder AddKeyedKvPrunedChatClient(
        this IServiceCollection services, object? serviceKey, Action<KvPruneOptions> configure,
        ServiceLifetime lifetime = ServiceLifetime.Singleton)
    {
        Func<IServiceProvider, IChatClient> factory = Register(services, configure);
        return services.AddKeyedChatClient(serviceKey, factory, lifetime);
    }

    private static Func<IServiceProvider, IChatClient> Register(IServiceCollection services, Action<KvPruneOptions> configure)
    {
        ArgumentNullException.ThrowIfNull(services);
        ArgumentNullException.ThrowIfNull(configure);
        // Options and model belong to this registration alone, whatever its key, so two registrations never mix.
        string registration = $"KvPrune {Guid.NewGuid():N}";
        services.TryAddEnumerable(ServiceDescriptor.Singleton<IValidateOptions<KvPruneOptions>, KvPruneOptionsValidator>());
        services.AddOptions<KvPruneOptions>(registration).Configure(configure).ValidateOnStart();
        services.AddKeyedSingleton(registration, (provider, _) => ChatModel.Load(
            provider.GetRequiredService<IOptionsMonitor<KvPruneOptions>>().Get(registration),
            provider.GetService<ILoggerFactory>()));
        return provider => new KvPrunedChatClient(provider.GetRequiredKeyedService<ChatModel>(registration), ownsModel: false);
    }
}
