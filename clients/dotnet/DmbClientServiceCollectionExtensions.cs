using Dmb.Client;
using Microsoft.Extensions.DependencyInjection.Extensions;

namespace Microsoft.Extensions.DependencyInjection;

/// <summary>Registers a <see cref="DmbClient"/>.</summary>
public static class DmbClientServiceCollectionExtensions
{
    /// <summary>
    /// Adds one client, which connects when it is first asked for and ends with the services; its clock is the
    /// registered <see cref="TimeProvider"/>.
    /// </summary>
    public static IServiceCollection AddDmbClient(
        this IServiceCollection services,
        Action<IServiceProvider, DmbClientOptions> configure
    )
    {
        services.TryAddSingleton(TimeProvider.System);
        return services.AddSingleton(provider =>
        {
            var options = new DmbClientOptions();
            configure(provider, options);
            return new DmbClient(options, provider.GetRequiredService<TimeProvider>());
        });
    }

    /// <inheritdoc cref="AddDmbClient(IServiceCollection, Action{IServiceProvider, DmbClientOptions})"/>
    public static IServiceCollection AddDmbClient(
        this IServiceCollection services,
        Action<DmbClientOptions> configure
    ) => services.AddDmbClient((_, options) => configure(options));
}
