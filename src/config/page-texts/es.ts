import type { PageTexts } from './texts.ts';

export const es: PageTexts = {
  signIn: 'Iniciar sesión',
  goToApp: 'Ir a la aplicación',
  continue: 'Continuar',
  closeWindow: 'Cerrar esta ventana',
  whatDoesThisMean: '¿Qué significa esto?',
  signingIn: 'Iniciando sesión',
  signedIn: 'Sesión iniciada',
  signingOut: 'Cerrando sesión',
  oneMoment: 'Un momento…',
  openingApp: 'Abriendo la aplicación…',
  signedOutTitle: 'Ha cerrado la sesión',
  signedOutText: 'Para volver a usar la aplicación, inicie sesión.',
  signedOut: 'Sesión cerrada',
  popupTitle: 'Ha iniciado sesión',
  popupText: 'Puede cerrar esta ventana.',
  details: 'Detalles',
  code: 'Código',
  request: 'Solicitud',
  errors: {
    login_required: { title: 'Inicie sesión', text: 'Tiene que iniciar sesión para ver esto.' },
    session_expired: { title: 'Vuelva a iniciar sesión', text: 'Su sesión ha terminado.' },
    step_up_required: {
      title: 'Confirme su identidad',
      text: 'Se necesita un inicio de sesión más seguro o más reciente. Vuelva a iniciar sesión para continuar.',
    },
    repeat_required: {
      title: 'Inténtelo de nuevo',
      text: 'Lo que envió no ha llegado. Envíelo otra vez.',
    },
    navigation_required: {
      title: 'Abra la página de inicio de sesión',
      text: 'Solo se puede iniciar sesión en una ventana o pestaña propia.',
    },
    request_forbidden: {
      title: 'Solicitud rechazada',
      text: 'No procede de la propia aplicación. Abra la aplicación e inténtelo de nuevo desde allí.',
    },
    access_denied: {
      title: 'No tiene permiso para esto',
      text: 'Su cuenta no tiene el permiso necesario. Si debería tenerlo, consulte a su equipo de soporte.',
    },
    request_invalid: {
      title: 'Solicitud no válida',
      text: 'No se puede procesar tal como está. Vuelva a la aplicación e inténtelo de nuevo.',
    },
    login_transaction_invalid: {
      title: 'No se puede completar este inicio de sesión',
      text: 'Ya se completó, tardó demasiado o se empezó en otro navegador. Vuelva a iniciar sesión.',
    },
    return_to_invalid: {
      title: 'Este enlace de inicio de sesión no funciona',
      text: 'No lleva a una página de esta aplicación. Abra la aplicación e inicie sesión desde allí.',
    },
    logout_sid_invalid: {
      title: 'Este enlace de cierre de sesión no funciona',
      text: 'Pertenece a otra sesión. Su sesión sigue abierta: ciérrela desde la aplicación.',
    },
    authorization_failed: {
      title: 'No se ha podido iniciar sesión',
      text: 'Inténtelo de nuevo; si no se resuelve, consulte a su equipo de soporte.',
    },
    provider_unavailable: {
      title: 'El inicio de sesión no está disponible en este momento',
      text: 'El proveedor de identidad no se puede usar ahora. Inténtelo de nuevo dentro de un momento.',
    },
    store_unavailable: {
      title: 'La aplicación no está disponible en este momento',
      text: 'Ahora no se puede comprobar su sesión. No se ha cerrado: inténtelo de nuevo dentro de un momento.',
    },
    upstream_unavailable: {
      title: 'La aplicación no está disponible en este momento',
      text: 'No se puede acceder a un servidor de esta aplicación. Inténtelo de nuevo dentro de un momento.',
    },
    upstream_timeout: {
      title: 'Se ha agotado el tiempo de espera',
      text: 'Un servidor de esta aplicación no ha respondido a tiempo. Inténtelo de nuevo dentro de un momento.',
    },
    route_not_found: { title: 'Página no encontrada', text: 'No hay nada en esta dirección.' },
    method_not_allowed: {
      title: 'Esto no se puede hacer aquí',
      text: 'Esta dirección no admite solicitudes de este tipo.',
    },
    body_too_large: {
      title: 'El envío es demasiado grande',
      text: 'Ha enviado más datos de los que admite esta aplicación.',
    },
    too_many_requests: {
      title: 'Demasiadas solicitudes',
      text: 'La aplicación está muy solicitada en este momento. Inténtelo de nuevo dentro de un momento.',
    },
    internal_error: {
      title: 'Se ha producido un error',
      text: 'Inténtelo de nuevo. Si el problema continúa, comunique a su equipo de soporte el número de solicitud que aparece abajo.',
    },
    setup: {
      title: 'El inicio de sesión no está bien configurado',
      text: 'Usted no puede resolverlo. Avise a los responsables de esta aplicación.',
    },
    sign_in_too_weak: {
      title: 'Este inicio de sesión no es suficiente',
      text: 'El servicio de inicio de sesión no ha comprobado todo lo que la aplicación exige para esta acción. Nada ha cambiado: vuelva a la aplicación. Si se repite, consulte a su equipo de soporte.',
    },
  },
};
