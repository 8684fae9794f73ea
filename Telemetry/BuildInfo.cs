using System.Reflection;

namespace Dmb.Telemetry;

/// <summary>Describes the running build.</summary>
internal static class BuildInfo
{
    /// <summary>The version of the broker's assembly.</summary>
    public static readonly string Version = typeof(BuildInfo)
        .Assembly.GetCustomAttribute<AssemblyInformationalVersionAttribute>()!
        .InformationalVersion;
}
